// One client, one request of every kind: does this instance work at all, and do its headers count down? With a quota of
// fewer requests it pauses for a window, as often as it has to.

import { check, sleep } from 'k6';
import http from 'k6/http';

import { ANSWERS, count, firstRequest, header, isAdmitted, member, randomUrl } from './lib/client.js';
import { BASE_URL, QUOTA, SHARED_OPTIONS, WINDOW, requireSetting } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';

const REQUESTS = 9;

const PAUSES = Math.ceil(REQUESTS / QUOTA) - 1;
requireSetting(PAUSES * WINDOW <= 600, `QUOTA: this test sends ${REQUESTS} requests, and would pause for more than ten minutes`);

export const options = {
  ...SHARED_OPTIONS,
  scenarios: {
    smoke: {
      executor: 'per-vu-iterations',
      vus: 1,
      iterations: 1,
      maxDuration: `${(3 + PAUSES) * (WINDOW + 1) + 60}s`,
    },
  },
  thresholds: {
    checks: ['rate==1.00'],
    ...ANSWERS.refused(0),
  },
};

export const handleSummary = summaryOf('smoke');

export default function () {
  const url = randomUrl();
  const json = { headers: { 'Content-Type': 'application/json' } };
  const html = { headers: { Accept: 'text/html' } };

  const banner = firstRequest(() => http.get(`${BASE_URL}/`));
  const page = ask('GET', '/', null, html);
  const form = ask('POST', '/shorten', { url });
  const again = ask('POST', '/shorten', JSON.stringify({ url }), json);
  const code = member(form, 'code');
  const followed = ask('GET', `/${code}`);
  const head = ask('HEAD', `/${code}`);
  const unknown = ask('GET', '/nosuchcode');
  const missing = ask('POST', '/shorten', { link: url });
  const bad = ask('POST', '/shorten', { url: 'ftp://example.com/' });

  check(null, {
    'GET / says that it runs': () => banner.status === 200 && banner.body === 'URL Shortener is running!\n',
    'GET / is a page in a browser': () => page.status === 200 && /^text\/html/.test(page.headers['Content-Type']),
    'POST /shorten takes a form': () => form.status === 200 && member(form, 'original_url') === url,
    'POST /shorten takes JSON, and the code is the same': () => again.status === 200 && member(again, 'code') === code,
    'the short URL ends with the code': () => `${member(form, 'short_url')}`.endsWith(`/${code}`),
    'GET /<code> redirects': () => followed.status === 302 && followed.headers.Location === url,
    'HEAD /<code> redirects': () => head.status === 302 && head.headers.Location === url,
    'an unknown code is 404': () => unknown.status === 404,
    'no url is 400': () => missing.status === 400,
    'an unacceptable url is 422': () => bad.status === 422,
    'an error is a problem document': () =>
      bad.headers['Content-Type'] === 'application/problem+json' && typeof member(bad, 'error') === 'string',
    'each answer has a request id of its own': () =>
      new Set([banner, form, followed, unknown].map((a) => a.headers['X-Request-Id'] || '')).size === 4,
    'the headers tell the quota': () => banner.headers['Ratelimit-Policy'] === `"default";q=${QUOTA};w=${WINDOW}`,
    'the headers count down, whichever node answers': () =>
      [banner, page, form, again, followed, head, unknown, missing, bad].every(
        (answer, n) => header(answer, 'X-Ratelimit-Remaining') === QUOTA - 1 - (n % QUOTA),
      ),
  });
}

let sent = 1;

// Errors are among the expected answers here.
function ask(method, path, body, params = {}) {
  const expected = http.expectedStatuses(200, 302, 400, 404, 422, 429);
  if (sent % QUOTA === 0) sleep(WINDOW + 0.1);
  sent++;
  const answer = http.request(method, `${BASE_URL}${path}`, body, { ...params, responseCallback: expected });
  if (isAdmitted(answer) || answer.status === 429) count([answer]);
  return answer;
}
