// Many clients at once, each at an address of its own (K6_LOCAL_IPS). Each sends twice its quota at one moment, over as
// many connections, and then hammers on for 5 seconds: each is admitted exactly its quota.
//
// CLIENTS   how many (default 50)

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { ANSWERS, count, firstRequest, isAdmitted, randomUrl, shorten, shortening } from './lib/client.js';
import { QUOTA, SHARED_OPTIONS, WINDOW, number, requireAddresses, requireSetting } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

const CLIENTS = number('CLIENTS', 50);
const AT_ONCE = 2 * QUOTA;
const AFTERWARDS = 5;
const SENT = 1 + AT_ONCE + AFTERWARDS;

const exact = new Counter('clients_admitted_exactly_their_quota');

export const options = {
  ...SHARED_OPTIONS,
  batch: AT_ONCE,
  batchPerHost: AT_ONCE,
  scenarios: {
    clients: {
      executor: 'per-vu-iterations',
      vus: CLIENTS,
      iterations: 1,
      maxDuration: `${3 * WINDOW + 60}s`,
    },
  },
  thresholds: {
    clients_admitted_exactly_their_quota: [`count==${CLIENTS}`],
    ...ANSWERS.admitted(CLIENTS * QUOTA),
    ...ANSWERS.refused(CLIENTS * (SENT - QUOTA)),
    ...ANSWERS.onlyExpected,
  },
};

export const handleSummary = summaryOf('per-client');

// And a second for the requests themselves.
requireSetting(WINDOW > AFTERWARDS + 1, `WINDOW: this test needs more than ${AFTERWARDS + 1} seconds`);
// nginx admits as many requests with a body of one client at a time (`limit_conn` in nginx/nginx.conf).
const MOST_AT_ONCE = 64;
requireSetting(
  AT_ONCE <= MOST_AT_ONCE,
  `QUOTA: this test needs a quota of ${MOST_AT_ONCE / 2} at most, for it sends twice as many at once and nginx admits ${MOST_AT_ONCE}`,
);

// And, by our nginx.conf, a few thousand in all.
requireSetting(
  CLIENTS * AT_ONCE <= 2000,
  `CLIENTS: this test has ${CLIENTS * AT_ONCE} connections at one moment, twice the quota for each of ${CLIENTS} clients; at most 2000 work`,
);

export function setup() {
  requireAddresses(CLIENTS);
}

export default function () {
  let sent;
  const answers = [firstRequest(() => {
    sent = Date.now();
    return http.request(...shortening(randomUrl()));
  })];
  const batch = Array.from({ length: AT_ONCE }, () => shortening(randomUrl()));
  answers.push(...count(http.batch(batch)));
  for (let second = 0; second < AFTERWARDS; second++) {
    sleep(1);
    answers.push(shorten(randomUrl()));
  }
  if (Date.now() - sent >= WINDOW * 1000) {
    exec.test.abort(`client ${__VU} took more than a window for its ${SENT} requests: too slow to tell`);
  }
  const admitted = answers.filter(isAdmitted).length;
  if (admitted === QUOTA) {
    exact.add(1);
  } else {
    console.error(`client ${__VU}: ${admitted} of ${answers.length} requests admitted`);
  }
}
