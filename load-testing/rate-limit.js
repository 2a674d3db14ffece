// The reference test: up to 20 virtual users hammer POST /shorten from one address for 100 seconds. Refused requests
// count, so that in the whole run exactly the quota is admitted.

import { check, sleep } from 'k6';
import http from 'k6/http';

import { ANSWERS, firstRequest, header, isAdmitted, member, randomUrl, shorten, shortening } from './lib/client.js';
import { QUOTA, SHARED_OPTIONS, WINDOW } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

export const options = {
  ...SHARED_OPTIONS,
  scenarios: {
    hammer: {
      executor: 'ramping-vus',
      startVUs: 1,
      stages: [
        { duration: '30s', target: 20 },
        { duration: '60s', target: 20 },
        { duration: '10s', target: 0 },
      ],
    },
  },
  thresholds: {
    ...ANSWERS.admitted(QUOTA),
    ...ANSWERS.onlyExpected,
    // About 1,600. With far fewer the client would not have hammered.
    http_reqs: ['count>=1400'],
    checks: ['rate==1.00'],
  },
};

export const handleSummary = summaryOf('rate-limit');

export function setup() {
  // Users send once a second: in a short window their first ones would be admitted again.
  if (WINDOW < 5) throw new Error('WINDOW: this test needs a window of at least 5 seconds');
  look(firstRequest(() => http.request(...shortening(randomUrl()))));
}

export default function () {
  look(shorten(randomUrl()));
  sleep(1);
}

function look(answer) {
  if (isAdmitted(answer)) {
    check(answer, { 'an admitted request got a code': (a) => /^[A-Za-z0-9]{6,}$/.test(member(a, 'code')) });
  } else if (answer.status === 429) {
    check(answer, {
      'a refused one was told why': (a) => member(a, 'error') === 'Rate limit exceeded',
      'and when to come back': (a) => header(a, 'Retry-After') >= 1 && header(a, 'Retry-After') <= WINDOW,
    });
  }
}
