// What a shortener's day looks like: 95 % of the requests follow a link, 5 % make one. Few links are followed often and
// most rarely: the n-th most popular is followed in proportion to 1/n (Zipf's law).

import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { count, follow, header, member, randomUrl, shorten, shortening } from './client.js';
import { number } from './settings.js';

const LINKS = number('LINKS', 1000);
const SHORTEN_SHARE = 0.05;
const AT_ONCE = 20;

// Milliseconds that 99 % of the requests of a kind may take.
const FOLLOW_P99 = number('FOLLOW_P99', 50);
const SHORTEN_P99 = number('SHORTEN_P99', 100);

// Requests arrive at a fixed rate, however long answers take, as they do in life.
export function arrivals({ rate, duration }) {
  return {
    mix: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration,
      preAllocatedVUs: Math.min(200, Math.ceil(rate / 5)),
      maxVUs: 1000,
    },
  };
}

export const MIX_OPTIONS = {
  discardResponseBodies: true,
  batch: AT_ONCE,
  batchPerHost: AT_ONCE,
};

export const MIX_THRESHOLDS = {
  'http_req_duration{kind:follow}': [`p(99)<${FOLLOW_P99}`],
  'http_req_duration{kind:shorten}': [`p(99)<${SHORTEN_P99}`],
  wrong_answers: ['count==0'],
  refused: ['count==0'],
  other_answers: ['count==0'],
  // Requests that should have been sent and were not: nobody was free.
  dropped_iterations: ['count==0'],
};

const wrong = new Counter('wrong_answers');

// Makes the links; the most popular first.
export function makeLinks() {
  const links = [];
  while (links.length < LINKS) {
    const urls = Array.from({ length: Math.min(AT_ONCE, LINKS - links.length) }, randomUrl);
    const answers = count(http.batch(urls.map((url) => shortening(url, { responseType: 'text' }))));
    answers.forEach((answer, n) => {
      if (answer.status !== 200) {
        const limit = header(answer, 'X-Ratelimit-Limit');
        exec.test.abort(`no link: ${answer.status}, limit ${limit}. This test needs a limit that it does not reach.`);
      }
      links.push({ code: member(answer, 'code'), url: urls[n] });
    });
  }
  return links;
}

// One request of the mix.
export function oneOfTheMix(links, tags = {}) {
  let right;
  if (Math.random() < SHORTEN_SHARE) {
    right = shorten(randomUrl(), { tags: { ...tags, kind: 'shorten' } }).status === 200;
  } else {
    const { code, url } = links[popularRank()];
    const answer = follow(code, { tags: { ...tags, kind: 'follow' } });
    right = answer.status === 302 && answer.headers.Location === url;
  }
  if (!right) wrong.add(1);
}

// The sums 1/1, 1/1 + 1/2, …: a random point below the last one falls to rank n with a probability in proportion to
// 1/n.
const sums = [];
for (let rank = 1; rank <= LINKS; rank++) {
  sums.push((sums[rank - 2] || 0) + 1 / rank);
}

function popularRank() {
  const point = Math.random() * sums[LINKS - 1];
  let low = 0;
  let high = LINKS - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] > point) high = middle;
    else low = middle + 1;
  }
  return low;
}
