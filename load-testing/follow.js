// A realistic mix for half a minute, with bounds on latency. It needs nodes with a limit that it does not reach.
//
// RATE          requests per second (default 400)
// DURATION      how long (default 30s)
// LINKS         how many links there are to follow (default 1000)
// FOLLOW_P99    milliseconds that 99 % of the redirects may take (default 50)
// SHORTEN_P99   the same for new links (default 100)

import { MIX_OPTIONS, MIX_THRESHOLDS, arrivals, makeLinks, oneOfTheMix } from './lib/mix.js';
import { SHARED_OPTIONS, number } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

export const options = {
  ...SHARED_OPTIONS,
  ...MIX_OPTIONS,
  scenarios: arrivals({ rate: number('RATE', 400), duration: __ENV.DURATION || '30s' }),
  thresholds: MIX_THRESHOLDS,
};

export const handleSummary = summaryOf('follow');

export const setup = makeLinks;

export default function (links) {
  oneOfTheMix(links);
}
