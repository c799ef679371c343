'use strict';
// Traffic and memory: what was counted, against the variant's formula, on every rank.

const COUNTED = [
  {title: 'fwd bytes', column: 'forward_bytes', format: bytes},
  {title: 'bwd bytes', column: 'backward_bytes', format: bytes},
  {title: 'messages', columns: ['forward_messages', 'backward_messages'], format: whole},
  {title: 'collectives', columns: ['forward_collectives', 'backward_collectives'], format: whole},
  {title: 'fwd memory', column: 'forward_memory', format: bytes, most: true},
  {title: 'bwd memory', column: 'backward_memory', format: bytes, most: true},
];

// {measured, formula, off: ranks that depart}; traffic is summed over ranks, of memory the largest rank's counts.
function compareCount(row, counted) {
  const columns = counted.columns ?? [counted.column];
  const over = counted.most ? largest : sumOf;
  const of = row.ranks.of;
  const total = suffix => sumOf(columns.map(column => over(of[column + suffix])));
  const off = new Set();
  for (const column of columns) {
    of[column].forEach((x, rank) => { if (x !== of[`${column}_formula`][rank]) off.add(rank); });
  }
  const known = columns.every(column => of[column].every(x => x !== null));
  return {measured: known ? total('') : null, formula: total('_formula'), off: [...off]};
}

function countCell(row, counted) {
  const {measured, formula, off} = compareCount(row, counted);
  if (measured === null) return '–';
  const exact = `${whole(measured)}${counted.format === bytes ? ' B' : ''}`;
  if (off.length === 0) return {text: [counted.format(measured), el('span', {class: 'equal'}, ' =')], help: `${exact}, equal to the formula on every rank`};
  const format = counted.format(measured) === counted.format(formula) ? whole : counted.format;
  const differs = measured === formula ? 'the same in all, by other ranks' : `formula ${format(formula)}`;
  return {text: `✗ ${format(measured)} ≠ ${differs}`, class: 'bad', help: `${exact}; the formula says ${whole(formula)}; ranks ${off.join(', ')} depart`};
}

VIEWS.push({id: 'traffic', title: 'Traffic', render(rows) {
  const counted = rows.filter(row => row.ranks !== null);
  if (counted.length === 0) {
    return empty(rows.length === 0 ? 'No case passes the filters.' : 'Nothing was counted: these cases were skipped, or only their tensors were given (check).');
  }
  const departs = counted.filter(row => COUNTED.some(c => compareCount(row, c).off.length > 0));
  const most = largest(counted.map(row => sumOf(row.ranks.of.forward_bytes) + sumOf(row.ranks.of.backward_bytes))) || 1;
  const sent = row => sumOf(row.ranks.of.forward_bytes) + sumOf(row.ranks.of.backward_bytes);
  const most_lines = isOn('lines') ? Infinity : 200;
  const line = row => ({class: departs.includes(row) ? 'wrong-row' : null, cells: [
    el('button', {type: 'button', class: 'link', onclick: () => openCase(row)}, row.case.variant), mathOf(row.case), gridOf(row.case), whole(row.case.seq),
    `${sizesOf(row.case)} ${maskOf(row.case)}`, ...COUNTED.map(c => countCell(row, c)), bytes(largest(row.ranks.of.peak_bytes)),
    el('span', {class: 'inline-bar', title: `${bytes(sent(row))} sent in all`}, bar(sent(row) / most)),
  ]});
  const sorted = [...departs, ...counted.filter(row => !departs.includes(row))];
  return [
    departs.length > 0 ?
        el('p', {class: 'callout bad'}, `✗ ${plural(departs.length, 'case')} of ${whole(counted.length)} sent or held other than its formula says.`) :
        el('p', {class: 'callout'}, `✓ In ${counted.length === 1 ? 'the case' : `all ${whole(counted.length)} cases`} every rank sent the bytes, messages and ` +
                                    'collectives, and held the memory, that its variant’s formula says: = marks it.'),
    table([{title: 'variant'}, {title: 'dtype'}, {title: 'grid'}, {title: 'n', num: true}, {title: 'problem'},
           ...COUNTED.map(c => ({title: c.title, num: true, help: c.most ? 'the rank that held most, beyond what was there when the pass began' : 'summed over ranks'})),
           {title: 'peak', num: true, help: 'largest device memory of a rank, inputs and outputs included'}, {title: 'sent', help: 'beside the case that sent most'}],
          sorted.slice(0, most_lines).map(line), 'Sent and held, against formula'),
    sorted.length > most_lines ? el('button', {type: 'button', onclick: () => { state.choices.set('choose-lines', 'on'); renderView(); }},
                                    `Show ${whole(sorted.length - most_lines)} more`) : null,
  ];
}});
