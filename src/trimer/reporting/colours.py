"""Colours of all drawings: those of Okabe and Ito, which the colour-blind can tell apart."""

BLUE, VERMILION, GREEN, GREY, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#8b95a1", "#56B4E9", "#E69F00"
INK, SOFT = "#1f2a35", "#5d6b79"  # text, and text of less weight
COLOURS = {"train": GREY, "val": BLUE, "test": VERMILION}  # of the splits
SERIES = (BLUE, ORANGE, GREEN, SKY, VERMILION)
