// Requests through the load balancer until k6 is told to end: nine of ten follow a link, one makes a link. Counts what
// failed, apart for both, because a load balancer may send the former to another node and never the latter.
//
// BASE_URL, REPORTS  as for load-testing/
// RATE               requests per second

import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

import { member, randomUrl } from '../../load-testing/lib/client.js';
import { BASE_URL, SHARED_OPTIONS, number } from '../../load-testing/lib/settings.js';

const LINKS = 200;
const SHORTEN_SHARE = 0.1;

export const options = {
  ...SHARED_OPTIONS,
  scenarios: {
    load: {
      executor: 'constant-arrival-rate',
      rate: number('RATE', 100),
      timeUnit: '1s',
      // Told to end long before.
      duration: '1h',
      preAllocatedVUs: 50,
      maxVUs: 200,
    },
  },
};

const failed = { GET: new Counter('failed_get'), POST: new Counter('failed_post') };

export function setup() {
  return Array.from({ length: LINKS }, () => {
    const url = randomUrl();
    const answer = http.post(`${BASE_URL}/shorten`, { url });
    if (answer.status !== 200) exec.test.abort(`no link: ${answer.status} ${answer.error}`);
    return { code: member(answer, 'code'), url };
  });
}

export default function (links) {
  // load.sh waits for it.
  if (exec.scenario.iterationInTest === 0) console.info('links are followed');
  if (Math.random() < SHORTEN_SHARE) {
    const answer = http.post(`${BASE_URL}/shorten`, { url: randomUrl() });
    judge(answer, answer.status === 200 && /^[A-Za-z0-9]{6,}$/.test(member(answer, 'code')));
  } else {
    const { code, url } = links[Math.floor(Math.random() * links.length)];
    const answer = http.get(`${BASE_URL}/${code}`, { tags: { name: 'GET /<code>' } });
    judge(answer, answer.status === 302 && answer.headers.Location === url);
  }
}

function judge(answer, isRight) {
  // What is under way when k6 is told to end, it gives up itself.
  if (isRight || answer.error === 'context canceled') return;
  const { method, url } = answer.request;
  failed[method].add(1);
  console.error(`${new Date().toISOString()} ${method} ${url}: ${answer.status} ${answer.error}`
    + ` after ${Math.round(answer.timings.duration)} ms`);
}

export function handleSummary({ metrics }) {
  const count = (name) => metrics[name]?.values.count ?? 0;
  const figures = [count('http_reqs'), count('failed_get'), count('failed_post'),
    Math.round(metrics.http_req_duration.values.max)];
  return { [`${__ENV.REPORTS}/figures`]: `${figures.join(' ')}\n` };
}
