// What is left of a run: a text for people and JSON for programs.

import { BASE_URL, TREND_STATISTICS } from './settings.js';

// handleSummary for a test of this name. Both go to the folder REPORTS, if that is set; it has to exist.
export function summaryOf(test) {
  return ({ setup_data: _, ...data }) => {
    const text = render(test, data);
    const result = { stdout: `${text}\n` };
    if (__ENV.REPORTS) {
      result[`${__ENV.REPORTS}/${test}.txt`] = `${text}\n`;
      result[`${__ENV.REPORTS}/${test}.json`] = JSON.stringify(data, null, 2);
    }
    return result;
  };
}

function render(test, { metrics, root_group: group, state }) {
  const seconds = (state.testRunDurationMs / 1000).toFixed(1);
  return [
    '',
    `${test}: ${BASE_URL}, ${seconds} s`,
    ...verdicts(metrics),
    ...checks(group),
    ...figures(metrics),
  ].join('\n');
}

function verdicts(metrics) {
  const sorted = Object.entries(metrics).sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.flatMap(([name, { thresholds = {}, values }]) =>
    Object.entries(thresholds).map(([rule, { ok }]) => {
      const statistic = rule.match(/^[a-z]+(\([0-9.]+\))?/)[0];
      const value = values[statistic] === undefined ? '' : `, was ${round(values[statistic])}`;
      return `  ${ok ? 'pass' : 'FAIL'}  ${name} ${rule}${value}`;
    }),
  );
}

// setup() is a group of its own, and may have made the same checks.
function checks(group) {
  const sums = {};
  for (const { name, passes, fails } of [group, ...group.groups].flatMap((part) => part.checks)) {
    sums[name] = { passes: passes + (sums[name]?.passes ?? 0), fails: fails + (sums[name]?.fails ?? 0) };
  }
  return Object.entries(sums).map(
    ([name, { passes, fails }]) => `  ${fails ? 'FAIL' : 'pass'}  ${name}: ${passes} of ${passes + fails}`,
  );
}

function figures(metrics) {
  const amount = (name, statistic = 'count') => metrics[name]?.values[statistic] ?? 0;
  const lines = [
    `  answers     ${amount('admitted')} admitted, ${amount('refused')} refused, ${amount('other_answers')} others`,
  ];
  if (metrics.allowed_least) {
    lines.push(`  allowed     ${amount('allowed_least', 'value')} to ${amount('allowed_most', 'value')}, by the times of the requests`);
  }
  const kinds = Object.keys(metrics).filter((name) => /^http_req_duration(?!{expected_response)/.test(name));
  for (const kind of kinds.sort()) {
    const label = kind.match(/{(.*)}/)?.[1] ?? 'all requests';
    const statistics = TREND_STATISTICS.map((name) => `${name} ${round(metrics[kind].values[name])}`);
    lines.push(`  latency     ${label}: ${statistics.join(', ')} ms`);
  }
  return lines;
}

function round(value) {
  return Number.isInteger(value) ? value : value.toFixed(2);
}
