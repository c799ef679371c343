'use strict';
// Published: LASP's table beside ours, and what its metric hides.

// How far the other ranks are off, where rank 0 shows nothing.
function hiddenBy(row, t) {
  const errors = t.relative_error_by_rank;
  if (row.case.sp < 2 || !Array.isArray(errors) || errors.length < 2) return null;
  const rest = largest(errors.slice(1));
  return {first: errors[0], rest, blind: t.published === 0 && rest > 0};
}

function publishedTable(rows) {
  const num = (title, help) => ({title, help, num: true});
  const columns = [
    {title: 'variant'}, {title: 'grid'}, {title: ''}, num('published', 'LASP’s README, 4 × A100'),
    num('ours, same metric', 'mean |x − y| on rank 0 in bf16, y the single-rank run in the same dtype'),
    num('true mean |dif|', 'mean |x − ref| over all ranks, ref the fp64 oracle'), num('true max |dif|'), num('of bound'),
    {title: 'relative error by rank', help: 'rank 0 is all that the published metric sees'}, {title: ''},
  ];
  const lines = [];
  for (const row of rows) {
    OUTS.filter(out => row.tensors[out]).forEach((out, i) => {
      const t = row.tensors[out], hidden = hiddenBy(row, t);
      const errors = Array.isArray(t.relative_error_by_rank) ? t.relative_error_by_rank : [];
      const most = largest(errors.filter(Number.isFinite)) || 1;
      lines.push({class: i === 0 ? 'first' : 'again', cells: [
        i === 0 ? row.case.variant : '', i === 0 ? gridOf(row.case) : '', out, {text: sig(t.published), class: 'strong'},
        sig(t.legacy), {text: sig(t.mean_abs), class: 'strong'}, sig(t.max_abs), {text: sig(t.bound_share), class: t.red ? 'bad' : ''},
        el('span', {class: 'spark', title: errors.map((e, rank) => `rank ${rank}: ${sig(e)}`).join(', ')},
           errors.map((error, rank) => el('i', {class: rank === 0 ? 'seen' : '', vars: {'--share': `${(100 * Math.min(1, error / most)).toFixed(0)}%`}}))),
        hidden?.blind ? {text: 'sees rank 0 alone', help: `the other ranks are off by ${sig(hidden.rest, 2)} of the tensor’s norm`, class: 'dim'} : '',
      ]});
    });
  }
  return table(columns, lines, 'LASP’s published differences beside ours');
}

VIEWS.push({id: 'published', title: 'Published', render(rows) {
  const theirs = rows.filter(row => Object.values(row.tensors).some(t => t.published !== null));
  if (theirs.length === 0) {
    return empty('No case here is one that LASP published figures for: four ranks, bf16 with TF32 products, batch 8, 2048 tokens, ' +
                 '12 heads, d 128, e 64. ', mono('cases/lasp_readme.csv'), ' has them all',
                 ROWS.some(row => Object.values(row.tensors).some(t => t.published !== null)) ? '; the filters hide them.' : '.');
  }
  const blind = theirs.filter(row => row.case.sp > 1 && row.tensors.o?.published === 0);
  return [
    note('LASP’s own test prints ', el('b', {}, 'mean |x − y| on rank 0 alone'), ', x and y both in bf16, y the same operator on one rank. ' +
         'Beside each published figure: ours by the same metric, then the true error of every rank against the fp64 oracle, which is what the verdict judges.'),
    blind.length > 0 ? el('p', {class: 'callout'}, el('b', {}, 'What it hides. '),
        `Rank 0 holds the first chunk, which receives no state in forward: ${blind.length === 1 ? 'the published 0.0 of “out” with sp > 1 says' :
            `the ${blind.length} published zeros of “out” with sp > 1 say`} nothing of how a received state is used, on whatever rank. ` +
        `The true mean error of our “out” there is up to ${sig(largest(blind.map(row => row.tensors.o.mean_abs)))}, over every rank. ` +
        'In the small bars the first, marked, is rank 0, all that the published metric sees; a fault in how a state is used shows in the others.') : null,
    publishedTable(theirs),
    note('The two first columns do not mean to agree digit for digit: LASP’s products are TF32, its roundings to bf16 stand elsewhere, ' +
         'and its yardstick is its own bf16 kernel, whose mean error against fp64 is as large as the differences.'),
  ];
}});
