"""How good are the texts? Twelve figures with known facts, described, and what the words say of them.

    SEGMIND_API_KEY=... python examples/alt_texts.py [--model claude-4.5-sonnet]
    SEGMIND_BASE_URL=simulator python examples/alt_texts.py

A fact is named if one of its spellings stands in the short or the long text. A number is wrong if no
number that matplotlib knows of the figure, and none of the facts, is within 2 % of it.
"""

import argparse
import json
import re

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from segmind_jupyter import SegmindError, describe


def line(ax):
    ax.plot([1960, 1990, 2020], [316.9, 354.4, 414.2])
    ax.set(xlabel="year", ylabel="CO2 (ppm)", title="Mauna Loa")


def crossing(ax):
    ax.plot([0, 1, 2, 3], [1, 3, 5, 7], label="north")
    ax.plot([0, 1, 2, 3], [6, 5, 4, 3], label="south")
    ax.set(xlabel="day", ylabel="cases")
    ax.legend()


def bars(ax):
    ax.bar(["Oslo", "Rome", "Cairo"], [763, 799, 25])
    ax.set(ylabel="rain (mm)")


def lying(ax):
    ax.barh(["red", "green"], [12, 30])
    ax.set(xlabel="votes")


def stacked(ax):
    ax.bar(["2023", "2024"], [10, 20], label="rail")
    ax.bar(["2023", "2024"], [30, 15], bottom=[10, 20], label="road")
    ax.set(ylabel="tonnes")
    ax.legend()


def histogram(ax):
    ax.hist([1, 1, 1, 2, 2, 3, 9], bins=[0, 2, 4, 6, 8, 10])
    ax.set(xlabel="minutes late", ylabel="trains")


def boxes(ax):
    ax.boxplot([[1, 2, 3, 4, 20], [5, 6, 7, 8, 9]], tick_labels=["old", "new"])
    ax.set(ylabel="seconds")


def scatter(ax):
    ax.scatter([1, 2, 3, 4, 5], [2, 4, 6, 8, 30])
    ax.set(xlabel="dose (mg)", ylabel="response")


def heat(ax):
    drawn = ax.imshow([[1, 2], [3, 9]])
    ax.set(xticks=[0, 1], xticklabels=["am", "pm"], yticks=[0, 1], yticklabels=["Mon", "Tue"])
    ax.figure.colorbar(drawn, label="visitors")


def pie(ax):
    ax.pie([60, 30, 10], labels=["gas", "wind", "sun"], autopct="%d%%")


def logarithmic(ax):
    ax.loglog([1, 10, 100], [5, 50, 500])
    ax.set(xlabel="frequency (Hz)", ylabel="power (W)")


def errors(ax):
    ax.errorbar([1, 2, 3], [4.0, 4.2, 9.1], yerr=[0.1, 0.1, 2.5])
    ax.set(xlabel="batch", ylabel="yield (g)")


#: Of each figure what its texts should say, in any of these spellings.
FIGURES = [
    (line, [["line"], ["ppm"], ["rise", "increase", "grow"], ["316.9", "317"], ["414.2", "414"]]),
    (crossing, [["north"], ["south"], ["cross", "intersect", "overtake"], ["7"], ["cases"]]),
    (bars, [["bar"], ["Rome"], ["799"], ["Cairo"], ["25"], ["mm"]]),
    (lying, [["horizontal"], ["green"], ["30"], ["votes"]]),
    (stacked, [["stack"], ["rail"], ["road"], ["2024"], ["35"], ["40"]]),
    (histogram, [["histogram"], ["minutes"], ["outlier", "apart", "8", "9"], ["3"]]),
    (boxes, [["box"], ["outlier"], ["20"], ["median"], ["seconds"]]),
    (scatter, [["scatter"], ["dose"], ["outlier", "apart", "exception"], ["30"]]),
    (heat, [["heat"], ["visitors"], ["9"], ["Tue"], ["pm"]]),
    (pie, [["pie"], ["gas"], ["60"], ["sun"], ["10"]]),
    (logarithmic, [["log"], ["Hz"], ["proportional", "straight", "linear"], ["500"]]),
    (errors, [["error bar", "uncertaint"], ["9.1"], ["batch"], ["large", "wide", "2.5"]]),
]

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")


def numbers(text):
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model")
    args = parser.parse_args()
    print(f"{'figure':12} {'facts named':>12} {'numbers wrong':>14}")
    sums = np.zeros(4, dtype=int)
    for draw, facts in FIGURES:
        fig, ax = plt.subplots()
        draw(ax)
        try:
            told = describe(fig, model=args.model, cache="on")
        except SegmindError as error:
            print(f"{draw.__name__:12} {error}")
            continue
        finally:
            plt.close(fig)
        words = f"{told.alt}\n{told.long}"
        named = sum(any(each.lower() in words.lower() for each in fact) for fact in facts)
        known = [*numbers(json.dumps(told.data)), *numbers(" ".join(sum(facts, [])))]
        said = numbers(words)
        wrong = sum(not any(abs(n - k) <= 0.02 * abs(k) for k in known) for n in said)
        print(f"{draw.__name__:12} {f'{named} of {len(facts)}':>12} {f'{wrong} of {len(said)}':>14}")
        sums += named, len(facts), wrong, len(said)
    print(f"{'all':12} {f'{sums[0] / max(sums[1], 1):.0%}':>12} {f'{sums[2] / max(sums[3], 1):.0%}':>14}")


if __name__ == "__main__":
    main()
