// The reference test: up to 20 users hammer POST /shorten from one address for 100 seconds, each once a second. Refused
// requests count, so that in the whole run exactly the quota is admitted; unless some leave the window before the quota
// is used up, or users pause for longer than a window. lib/judge.js says, from the times of all requests, how many may
// have been admitted, and whether each answer can be right.
//
// Users come in the first half of a window, and there are more of them where 20 would not exceed the quota twice over.

import { check } from 'k6';
import http from 'k6/http';
import { Counter, Gauge } from 'k6/metrics';
import { setTimeout } from 'k6/timers';

import { ANSWERS, count, firstRequest, header, isAdmitted, member, randomUrl, shortening } from './lib/client.js';
import { judge } from './lib/judge.js';
import { QUOTA, SHARED_OPTIONS, WINDOW, requireSetting } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

const DURATION = 100; // seconds, of which users come in the first ones and go in the last ten
const COMING = Math.min(30, WINDOW / 2);
const GOING = 10;
const MOST_USERS = 200;
// A minute is what all of them are there for.
const USERS = Math.max(20, Math.ceil((2 * QUOTA) / Math.min(WINDOW, DURATION - 40)));

requireSetting(
  USERS <= MOST_USERS,
  `QUOTA: this test sends at most ${MOST_USERS} requests per second, and has to exceed the quota twice over`,
);

// Milliseconds that the clocks of this machine and of the service may differ by over a window: how exactly a node knows
// the time of Redis, and 0.01 % for clocks that do not go alike.
const CLOCK_ERROR = 10 + WINDOW * 0.1;

const allowedLeast = new Gauge('allowed_least');
const allowedMost = new Gauge('allowed_most');
const tooMany = new Counter('admitted_beyond_the_quota');
const tooFew = new Counter('refused_within_the_quota');
const judged = new Counter('judged');

export const options = {
  ...SHARED_OPTIONS,
  scenarios: {
    // All users are one of k6's, because its users know nothing of each other, and the judge needs the times of all.
    hammer: {
      executor: 'per-vu-iterations',
      vus: 1,
      iterations: 1,
      maxDuration: `${3 * WINDOW + DURATION + 300}s`,
    },
  },
  thresholds: {
    admitted_beyond_the_quota: ['count==0'],
    refused_within_the_quota: ['count==0'],
    // A run that ended early has proved nothing.
    judged: ['count==1'],
    ...ANSWERS.onlyExpected,
    checks: ['rate==1.00'],
  },
};

export const handleSummary = summaryOf('rate-limit');

export default async function () {
  const requests = [];
  look(firstRequest(() => {
    const sent = Date.now();
    const answer = http.request(...shortening(randomUrl()));
    // One that found an earlier run's requests in the log, and is sent again after a window, is none of these.
    requests[0] = record(sent, answer);
    return answer;
  }));
  const began = Date.now();
  await Promise.all(Array.from({ length: USERS }, (_, user) => hammer(requests, began, user / USERS)));

  const verdict = judge(requests, { quota: QUOTA, window: WINDOW * 1000, clockError: CLOCK_ERROR });
  allowedLeast.add(verdict.least);
  allowedMost.add(verdict.most);
  tooMany.add(verdict.tooMany);
  tooFew.add(verdict.tooFew);
  if (verdict.certainlyRefused >= requests.length / 4) {
    judged.add(1);
  } else {
    console.error(`of ${requests.length} requests only ${verdict.certainlyRefused} had to be refused, whatever their `
      + 'order: answers took too long, or too few were sent, to tell');
  }
}

// One user, who comes and goes in turn, from 0 for the first to 1 for the last.
async function hammer(requests, began, turn) {
  const goes = began + (DURATION - GOING * turn) * 1000;
  await pause(turn * COMING * 1000);
  while (Date.now() < goes) {
    const sent = Date.now();
    const [method, url, body, params] = shortening(randomUrl());
    const [answer] = count([await http.asyncRequest(method, url, body, params)]);
    requests.push(record(sent, answer));
    look(answer);
    await pause(1000);
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Dates are in whole milliseconds, rounded down.
function record(sent, answer) {
  return { sent, received: Date.now() + 1, admitted: isAdmitted(answer) };
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
