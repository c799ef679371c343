'use strict';
// Verdict: what was run, on what, and what is wrong.

const STATUSES = [
  {status: 'FAIL', mark: '✗', title: 'wrong'},
  {status: 'MISTRUSTED', mark: '?', title: 'mistrusted'},
  {status: 'XPASS', mark: '!', title: 'passed unexpectedly'},
  {status: 'pass', mark: '✓', title: 'passed'},
  {status: 'xfail', mark: '⚑', title: 'failed as expected'},
  {status: 'skip', mark: '–', title: 'skipped'},
];

function statusBadge(row) {
  const known = STATUSES.find(s => s.status === row.status);
  const kind = row.red ? 'red' : row.status === 'pass' ? 'good' : 'plain';
  return el('span', {class: `badge ${kind}`}, known ? `${known.mark} ${row.status}` : row.status);
}

// In one sentence, of all rows, whatever the filters.
function headline() {
  const red = ROWS.filter(row => row.red).length, ran = ROWS.filter(row => row.ran).length;
  if (red > 0) return {kind: 'red', text: `✗ ${plural(red, 'case')} of ${whole(ran)} wrong`};
  if (ran === 0) return {kind: 'red', text: '✗ No case ran'};
  return {kind: 'good', text: `✓ ${ran === 1 ? 'The case' : `All ${whole(ran)} cases`} that ran passed`};
}

function tiles(rows) {
  return el('ul', {class: 'tiles'}, STATUSES.map(({status, mark, title}) => {
    const count = rows.filter(row => row.status === status).length;
    const kind = count === 0 ? 'none' : RED.has(status) ? 'red' : status === 'pass' ? 'good' : '';
    return el('li', {class: `tile ${kind}`, 'data-status': status},
              el('b', {}, whole(count)), el('span', {}, `${mark} ${title}`));
  }));
}

function repeatBox(row) {
  const line = repeatLine(row);
  if (line === null) return note('This row’s case cannot stand in a case file: no command repeats it.');
  return el('div', {class: 'repeat'}, el('code', {}, line), copyButton(line));
}

function reasonsOf(row) { return row.findings.length > 0 ? row.findings.map(f => f.text) : row.reason ? [row.reason] : []; }

function failure(row) {
  const worst = OUTS.find(out => row.tensors[out]?.red);
  return el('article', {class: 'failure'},
            el('h3', {}, statusBadge(row), ' ',
               el('button', {type: 'button', class: 'link mono', onclick: () => openCase(row, worst)}, row.name)),
            firstOf(reasonsOf(row), 6, reason => el('p', {class: 'reason'}, reason)), repeatBox(row));
}

function skips(rows) {
  const groups = [...groupBy(rows.filter(row => row.status === 'skip'), row => row.reason || 'no reason given')];
  if (groups.length === 0) return null;
  return section('Skipped', table([{title: 'cases', num: true}, {title: 'reason'}],
                                  groups.map(([reason, skipped]) => [whole(skipped.length), reason]), 'Skipped, by reason'));
}

function knownFaults(rows) {
  const known = rows.filter(row => row.status === 'xfail');
  if (known.length === 0) return null;
  return section('Known faults', table([{title: 'case'}, {title: 'fault'}],
                                       known.map(row => [mono(row.name), String(row.case.expect).replace(/^fail:/, '')]),
                                       'Known faults'));
}

function checksTable(rows) {
  const outcomes = new Map();
  for (const row of rows) {
    for (const [check, [outcome]] of Object.entries(row.checks)) {
      if (!outcomes.has(check)) outcomes.set(check, new Map());
      outcomes.get(check).set(outcome, (outcomes.get(check).get(outcome) ?? 0) + 1);
    }
  }
  if (outcomes.size === 0) return null;
  return section('Properties', table(
      [{title: 'check'}, {title: 'outcomes'}],
      [...outcomes].map(([check, of]) => [check, [...of].map(([kind, n]) => `${kind} ${whole(n)}`).join(', ')]),
      'Properties checked besides'));
}

function closest(rows) {
  let best = null;
  for (const row of rows.filter(r => r.ran && r.status !== 'xfail')) {
    for (const tensor of Object.values(row.tensors)) {
      if (best === null || tensor.bound_share > best.tensor.bound_share) best = {row, tensor};
    }
  }
  if (best === null || best.tensor.red) return null;
  return note('Closest to its bound: ', sig(best.tensor.bound_share), ' of it, ', best.tensor.out, ' of ',
              el('button', {type: 'button', class: 'link mono', onclick: () => openCase(best.row, best.tensor.out)},
                 best.row.name), '.');
}

function runTable(rows) {
  const runs = [...groupBy(rows, row => row.run)];
  return table(
      [{title: 'commit'}, {title: 'subject'}, {title: 'started'}, {title: 'machine'}, {title: 'ranks'}, {title: 'device'},
       {title: 'cases', num: true}, {title: 'red', num: true}],
      runs.map(([run, of]) => {
        const machine = MODEL.machines[run.fingerprint] ?? {};
        const red = of.filter(row => row.red).length;
        const world = run.world > 0 ? `${run.world} ${run.communicator}` : run.communicator;
        return [mono(run.commit), run.subject || '–', run.started || '–',
                [machine.cpu ? `${machine.cpu} ` : '', mono(run.fingerprint)], world, run.device, whole(of.length),
                red > 0 ? {text: `✗ ${whole(red)}`, class: 'bad'} : '0'];
      }), 'What ran');
}

// What a gate's report is red for, if it is.
function gateWarning(gate) {
  const slow = gate.timed.filter(f => f.verdict === 'SLOW').length, worse = gate.exact.filter(f => f.red).length;
  const stepped = gate.history.filter(f => f.slower).length;
  if (gate.unfinished) return el('p', {class: 'callout bad'}, '✗ Gate: ', gate.verdict);
  if (slow + worse + stepped === 0) return null;
  const words = [worse > 0 ? plural(worse, 'exact figure') + ' worse' : '', slow > 0 ? plural(slow, 'case') + ' slower' : '',
                 stepped > 0 ? `${plural(stepped, 'series', 'series')} with a step to slower` : ''];
  const bad = slow + worse > 0;  // a step in the history fails nothing
  return el('p', {class: bad ? 'callout bad' : 'warning'}, bad ? '✗ Gate: ' : 'Gate: ', words.filter(w => w).join(', '), ' than ', mono(gate.base), ': ',
            el('button', {type: 'button', class: 'link', onclick: () => showTab('history')}, 'history'), '.');
}

VIEWS.push({id: 'verdict', title: 'Verdict', render(rows) {
  const red = rows.filter(row => row.red);
  const hidden = ROWS.filter(row => row.red).length - red.length;
  const ran = rows.filter(row => row.ran).length;
  const count = red.length > 0 ?
      el('p', {class: 'verdict red'}, el('b', {}, whole(red.length)),
         el('span', {}, `of ${plural(ran, 'case')} that ran ${red.length === 1 ? 'is' : 'are'} wrong`)) :
      el('p', {class: `verdict ${ran > 0 ? 'good' : 'red'}`}, el('b', {}, ran > 0 ? '✓' : '✗'),
         el('span', {}, ran > 0 ? `${plural(ran, 'case')} ran, none is wrong` : 'No case ran: nothing was verified'));
  return [
    count, hidden > 0 ? el('p', {class: 'warning'}, `The filters hide ${plural(hidden, 'wrong case')}.`) : null, tiles(rows),
    MODEL.gates.map(gateWarning), MODEL.torn.map(place => el('p', {class: 'warning'}, `${place}: the last line is torn (its run was killed while writing it) and left out.`)),
    red.length > 0 ? section('What is wrong', firstOf(red, 25, failure)) : null,
    section('What ran', runTable(rows), closest(rows)),
    checksTable(rows), knownFaults(rows), skips(rows),
  ];
}});
