// The mix of follow.js for an hour, more gently: does anything grow, leak or get slower? The bounds on latency hold in
// each quarter of the run. Watch the memory of the nodes meanwhile.
//
// RATE          requests per second (default 100)
// DURATION      how long, in s, m or h (default 1h)
// LINKS, FOLLOW_P99, SHORTEN_P99   as in follow.js

import exec from 'k6/execution';

import { MIX_OPTIONS, MIX_THRESHOLDS, arrivals, makeLinks, oneOfTheMix } from './lib/mix.js';
import { SHARED_OPTIONS, number } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

const duration = __ENV.DURATION || '1h';

const quarters = {};
for (const quarter of [1, 2, 3, 4]) {
  for (const kind of ['follow', 'shorten']) {
    const bounds = MIX_THRESHOLDS[`http_req_duration{kind:${kind}}`];
    quarters[`http_req_duration{kind:${kind},quarter:${quarter}}`] = bounds;
  }
}

export const options = {
  ...SHARED_OPTIONS,
  ...MIX_OPTIONS,
  scenarios: arrivals({ rate: number('RATE', 100), duration }),
  thresholds: { ...MIX_THRESHOLDS, ...quarters },
};

export const handleSummary = summaryOf('soak');

export const setup = makeLinks;

export default function (links) {
  const quarter = Math.min(4, 1 + Math.floor(4 * exec.scenario.progress));
  oneOfTheMix(links, { quarter });
}
