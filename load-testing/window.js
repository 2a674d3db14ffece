// Clients use up their quota, are refused, and stay quiet. Half of them wait as long as Retry-After said and are
// admitted again. The others ask a tenth of a second before their window has passed and are refused. (These are others
// because an early request counts.)
//
// CLIENTS   how many (default 10), each at an address of its own (K6_LOCAL_IPS); 1 is one that waits

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { ANSWERS, firstRequest, header, isAdmitted, randomUrl, shorten, shortening } from './lib/client.js';
import { QUOTA, SHARED_OPTIONS, WINDOW, number, requireAddresses, requireSetting } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

const CLIENTS = number('CLIENTS', 10);
const PATIENT = Math.ceil(CLIENTS / 2);
const EARLY = CLIENTS - PATIENT;

// Seconds between the first request and the others: the window of the first one is not the one that counts.
const HEAD_START = 2;

export const options = {
  ...SHARED_OPTIONS,
  scenarios: {
    clients: {
      executor: 'per-vu-iterations',
      vus: CLIENTS,
      iterations: 1,
      maxDuration: `${4 * WINDOW + 60}s`,
    },
  },
  thresholds: {
    ...ANSWERS.admitted(CLIENTS * QUOTA + PATIENT),
    ...ANSWERS.refused(CLIENTS + EARLY),
    ...ANSWERS.onlyExpected,
    checks: ['rate==1.00'],
  },
};

export const handleSummary = summaryOf('window');

requireSetting(QUOTA >= 2, 'QUOTA: this test needs a quota of at least 2');
requireSetting(WINDOW > HEAD_START + 1, `WINDOW: this test needs more than ${HEAD_START + 1} seconds`);

export function setup() {
  requireAddresses(CLIENTS);
}

export default function () {
  let began;
  firstRequest(() => {
    began = Date.now() / 1000;
    return http.request(...shortening(randomUrl()));
  });
  sleep(HEAD_START);
  // After a refusal there are quota + 1 requests in the log. The second one is the one whose leaving makes room.
  const second = timed();
  const inTime = () => {
    if (Date.now() / 1000 - began >= WINDOW) exec.test.abort(`${QUOTA + 1} requests take longer than a window: too slow to tell`);
  };
  for (let n = 3; n <= QUOTA; n++) {
    shorten(randomUrl());
    inTime();
  }
  const refusal = timed();
  inTime();
  const promised = header(refusal.answer, 'Retry-After');

  check(refusal, {
    'the last one was refused': ({ answer }) => answer.status === 429,
    // Between the moments when both requests were sent and answered, rounded up to seconds.
    'Retry-After is the rest of the window': () =>
      promised >= Math.ceil(WINDOW - (refusal.answered - second.sent)) &&
      promised <= Math.ceil(WINDOW - (refusal.sent - second.answered)),
  });
  if (promised === undefined) return;

  if (__VU <= PATIENT) {
    sleepUntil(refusal.answered + promised);
    check(shorten(randomUrl()), { 'admitted at the promised second': isAdmitted });
  } else {
    sleepUntil(second.sent + WINDOW - 0.1);
    const early = timed();
    check(early, { 'refused a tenth of a second before its window has passed': ({ answer }) => answer.status === 429 });
    if (early.answered > second.sent + WINDOW) {
      console.warn(`the early request took ${(early.answered - early.sent).toFixed(2)} s: too slow to tell`);
    }
  }
}

// A request, with the moments when it was sent and answered, in seconds.
function timed() {
  const sent = Date.now() / 1000;
  const answer = shorten(randomUrl());
  return { sent, answered: Date.now() / 1000, answer };
}

function sleepUntil(moment) {
  sleep(Math.max(0, moment - Date.now() / 1000));
}
