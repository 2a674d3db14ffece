// A client of Shunt: requests, and the count of what was answered.

import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';

import { BASE_URL, WINDOW } from './settings.js';

// A refusal is an answer like any other here; thresholds decide about it.
http.setResponseCallback(http.expectedStatuses(200, 302, 429));

const admitted = new Counter('admitted'); // 200, 302
const refused = new Counter('refused'); // 429
const other = new Counter('other_answers'); // anything else, and connections that failed

// Thresholds on what was answered. A counter that nothing was added to stands at 0.
export const ANSWERS = {
  admitted: (count) => ({ admitted: [`count==${count}`] }),
  refused: (count) => ({ refused: [`count==${count}`] }),
  onlyExpected: { other_answers: ['count==0'] },
};

let reported = false;

// Counts answers that requests got otherwise, such as in a batch.
export function count(answers) {
  for (const answer of answers) {
    const counter = { 200: admitted, 302: admitted, 429: refused }[answer.status] || other;
    counter.add(1);
    // Once per user; k6 itself reports connections that failed.
    if (counter === other && answer.status !== 0 && !reported) {
      reported = true;
      console.error(`${answer.request.method} ${answer.url} was answered ${answer.status}`);
    }
  }
  return answers;
}

export const isAdmitted = (answer) => answer.status === 200 || answer.status === 302;

// A URL that nobody has shortened yet.
export function randomUrl() {
  const random = () => Math.random().toString(36).slice(2);
  return `https://example.com/${random()}/${random()}?from=k6`;
}

// The parts of a POST /shorten, in the order that http.batch() takes as well.
export function shortening(url, params = {}) {
  return ['POST', `${BASE_URL}/shorten`, { url }, params];
}

export function shorten(url, params) {
  return count([http.request(...shortening(url, params))])[0];
}

// One name for all codes: k6 would keep metrics for each URL.
export function follow(code, params = {}) {
  const tags = { name: 'GET /<code>', ...params.tags };
  return count([http.get(`${BASE_URL}/${code}`, { ...params, tags })])[0];
}

// Sends a client's first request, which finds no others in its log. If there are some, from an earlier run for example,
// it waits until they no longer count. The request is one of those that a test counts.
export function firstRequest(send) {
  for (let attempt = 1; ; attempt++) {
    const answer = send();
    if (answer.status === 0) exec.test.abort(`no answer from ${BASE_URL}`);
    const limit = header(answer, 'X-Ratelimit-Limit');
    if (limit === undefined || header(answer, 'X-Ratelimit-Remaining') === limit - 1) {
      return count([answer])[0];
    }
    if (attempt === 3) {
      throw new Error('somebody else sends requests from this address: its log does not get empty');
    }
    console.warn(`this client's log is not empty: waiting ${WINDOW} seconds`);
    sleep(WINDOW + 0.1);
  }
}

// A header that is a whole number, such as Retry-After; undefined if it is missing or something else.
export function header(answer, name) {
  const value = answer.headers[name];
  return /^\d+$/.test(value) ? Number(value) : undefined;
}

// A member of a JSON body; undefined if it is missing or the body something else.
export function member(answer, name) {
  try {
    return answer.json(name);
  } catch {
    return undefined;
  }
}
