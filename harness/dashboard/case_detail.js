'use strict';
// One case: its tensors, the worst element's place, what each rank got.

function placeOf(t) {
  return `batch ${t.worst_batch}, head ${t.worst_head}, position ${t.worst_position}, dim ${t.worst_dim}`;
}

function tensorTable(row, chosen_out, choose) {
  const limit = (share, of = 1) => share !== null && !(share <= of) ? 'bad' : '';
  const lines = OUTS.filter(out => row.tensors[out]).map(out => {
    const t = row.tensors[out];
    const name = el('button', {type: 'button', class: 'link', onclick: () => choose(out), 'aria-pressed': String(out === chosen_out)}, out);
    return {class: out === chosen_out ? 'chosen' : null, cells: [
      name, {text: sig(t.bound_share), class: limit(t.bound_share)},
      {text: t.row_share === 0 ? '–' : sig(t.row_share), class: limit(t.row_share)},
      {text: `${sig(t.bias, 2)} / ${sig(t.bias_limit, 2)}`, class: limit(t.bias, t.bias_limit)},
      sig(t.relative_error), sig(t.mean_abs), sig(t.max_abs),
      {text: whole(t.failed), class: t.failed > 0 ? 'bad' : '', help: `of ${plural(t.elements, 'element')}, ${whole(t.telling)} of them beyond their bound from 0`},
      t.bound_share === 0 ? '–' : `${t.worst_batch}, ${t.worst_head}, ${t.worst_position}, ${t.worst_dim} @${t.worst_rank}`, sig(t.worst_value, 6), sig(t.worst_expected, 6), sig(t.worst_bound),
    ]};
  });
  const num = (title, help) => ({title, help, num: true});
  return table([{title: 'tensor'}, num('of bound', 'largest share of its bound that any element uses; above 1 fails'),
                num('row', 'worst row’s error as a share of its limit; – where rows have none'),
                num('bias / limit', '|least-squares slope against the reference − 1|'), num('rel. error', '‖x − ref‖ / ‖ref‖ over all ranks'),
                num('mean |dif|'), num('max |dif|'), num('beyond'), {title: 'worst at', help: 'batch, head, position, dim @rank'}, num('got'), num('expected'), num('bound')],
               lines, 'Tensors');
}

// Relative error and wrong elements of each rank.
function rankPicture(row, tensor) {
  const errors = tensor.relative_error_by_rank, failed = tensor.failed_by_rank;
  if (!Array.isArray(errors) || errors.length === 0) return empty('This row has no figures by rank.');
  const most = largest(errors.filter(Number.isFinite)) || 1;
  return el('ul', {class: 'ranks'}, errors.map((error, rank) => {
    const wrong = failed?.[rank] ?? 0;
    const words = wrong > 0 ? `✗ ${plural(wrong, 'element')} wrong` : '';
    return el('li', {class: wrong > 0 ? 'bad' : null}, el('span', {class: 'rank-name'}, `rank ${rank}`),
              bar(error / most, wrong > 0 ? 'wrong' : ''), el('span', {class: 'num'}, sig(error)), el('span', {class: 'words'}, words));
  }));
}

function wherePicture(row, t) {
  if (t.bound_share === null || t.bound_share === 0 || !(row.case.seq > 0)) return null;
  return el('div', {class: 'where'},
            el('div', {class: 'line', 'aria-hidden': 'true'},
               el('i', {vars: {'--share': `${(100 * t.worst_position / Math.max(1, row.case.seq - 1)).toFixed(2)}%`}})),
            note(`Worst element of ${t.out}: ${placeOf(t)}, held by rank ${t.worst_rank}. Got ${sig(t.worst_value, 7)}, expected ${sig(t.worst_expected, 7)}; ` +
                 `the difference may be ${sig(t.worst_bound)}. The line is the sequence of ${whole(row.case.seq)} tokens.`));
}

function othersTable(row, out, others, choose) {
  if (others.length < 2) return null;
  const sorted = [...others].sort((a, b) => b.red - a.red || (b.tensors[out]?.bound_share ?? -1) - (a.tensors[out]?.bound_share ?? -1));
  return section(`All ${others.length} cases at this place`, table(
      [{title: 'status'}, {title: `${out} of bound`, num: true}, {title: 'problem'}, {title: 'commit'}],
      sorted.slice(0, 100).map(other => ({class: other === row ? 'chosen' : null, cells: [
        statusBadge(other), sig(other.tensors[out]?.bound_share ?? null),
        el('button', {type: 'button', class: 'link', onclick: () => choose(other)}, problemOf(other.case)), mono(other.run.commit),
      ]})), `Cases at this place${others.length > 100 ? ', the worst 100' : ''}`));
}

// Every figure of the results, whatever it is.
function allFigures(row, held) {
  const text = ({unit}, x) => typeof x !== 'number' ? String(x) :
      unit === 's' ? seconds(x) : unit === 'bytes' ? bytes(x) : Number.isInteger(x) ? whole(x) : sig(x, 6);
  const line = (field, x, prefix = '') => x === null || x === undefined ? [] : [[mono(prefix + field.name), text(field, x), field.help]];
  const lines = [
    ...MODEL.columns.figures.flatMap(field => line(field, row.figures[field.name])),
    ...held.flatMap(out => MODEL.columns.tensor.flatMap(field => line(field, row.tensors[out][field.name], `${out}_`))),
  ];
  return el('details', {class: 'all-figures'}, el('summary', {}, `All ${plural(lines.length, 'figure')}`),
            table([{title: 'figure'}, {title: 'value', num: true}, {title: 'meaning'}], lines, 'All figures of the case'));
}

// Fills `box`. out: the tensor, or null for the worst; others: cases at the same place of the matrix.
function showDetail(box, row, out, others) {
  const held = OUTS.filter(name => row.tensors[name]);
  const worst = [...held].sort((a, b) => row.tensors[b].red - row.tensors[a].red ||
                                         row.tensors[b].bound_share - row.tensors[a].bound_share)[0];
  const now = held.includes(out) ? out : worst;
  const again = (other_row, other_out) => {
    state.name = other_row.name;
    state.tensor = other_out;
    writeAddress();
    showDetail(box, other_row, other_out, others);
  };
  const checks = Object.entries(row.checks);
  const of_this = finding => !finding.tensor || finding.tensor === now;  // each tensor tells its own
  box.replaceChildren(el('section', {class: 'detail'},
      el('h2', {id: 'detail-title', tabindex: -1}, statusBadge(row), ' ', mono(row.name)),
      note('Commit ', mono(row.run.commit), ` “${row.run.subject}”, ${row.run.communicator}, ${row.run.device}; ${row.run.file}`),
      row.findings.filter(of_this).map(finding => el('p', {class: 'reason'}, finding.text)),
      now === undefined ? empty(row.reason || 'No tensor was given.') : [
        tensorTable(row, now, name => again(row, name)),
        wherePicture(row, row.tensors[now]),
        el('div', {class: 'pictures'}, held.map(name => el('div', {class: name === now ? 'picture chosen' : 'picture'},
            el('h3', {}, `${name}: relative error by rank`), rankPicture(row, row.tensors[name])))),
      ],
      checks.length > 0 ? note('Properties: ', checks.map(([check, [outcome, why]]) => `${check} ${outcome}${why ? `: ${why}` : ''}`).join('; '), '.') : null,
      allFigures(row, held), el('h3', {}, 'Repeat it'), repeatBox(row),
      now === undefined ? null : othersTable(row, now, others, other => again(other, now))));
}
