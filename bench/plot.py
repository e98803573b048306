# SPDX-License-Identifier: BSD-3-Clause
"""The race as a picture: a bar a ratio, its spread as a line, the target as a mark."""

import html
import math

LEFT, WIDTH, BAR, GAP = 470, 460, 16, 8
COLOURS = {'met': '#2e933c', 'not shown': '#e08e0b', 'NOT MET': '#d1495b'}


def draw(ratios, path):
    """ratios: as run.py found them."""
    highest = max([r['high'] for r in ratios] + [r['target'] for r in ratios] + [2])
    lowest = min([r['low'] for r in ratios] + [0.5])

    def x(value):
        return LEFT + WIDTH * math.log(value / lowest) / math.log(highest / lowest)

    height = 60 + len(ratios) * (BAR + GAP)
    out = ["<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1000 %d' "
           "font-family='sans-serif' font-size='11' fill='#222'>" % height,
           "<rect width='100%' height='100%' fill='#fff'/>",
           "<text x='10' y='20' font-size='15'>Outboard beside others: ratio, spread, and the "
           "target (black)</text>"]
    for number, ratio in enumerate(ratios):
        y = 40 + number * (BAR + GAP)
        label = '%s, beside %s (%s)' % (ratio['row'], ratio['other'], ratio['placement'])
        out.append("<text x='%d' y='%d' text-anchor='end'>%s</text>" % (
            LEFT - 8, y + 12, html.escape(label)))
        out.append("<rect x='%d' y='%d' width='%.1f' height='%d' fill='%s'/>" % (
            LEFT, y, max(x(ratio['ratio']) - LEFT, 1), BAR, COLOURS[ratio['verdict']]))
        out.append("<path d='M%.1f %.1fH%.1f' stroke='#222'/>" % (
            x(ratio['low']), y + BAR / 2, x(ratio['high'])))
        out.append("<path d='M%.1f %dv%d' stroke='#000' stroke-width='2.5'/>" % (
            x(ratio['target']), y - 2, BAR + 4))
        out.append("<text x='%.1f' y='%d'>%.2f</text>" % (x(ratio['high']) + 5, y + 12,
                                                          ratio['ratio']))
    out.append('</svg>')
    with open(path, 'w') as file:
        file.write('\n'.join(out))
