"""Metrics of the kinds of task. Each gives the score on a split, and a pseudo-value for each of its examples.

Notation: E examples (texts, sentences, questions, sources), theta the score on all of them, theta_e that without example e.
The pseudo-value of e is  p_e = E theta - (E - 1) theta_e,  the jackknife's (Tukey, 1958; Efron and Stein, 1981). Of a mean
over examples it is the example's own score. Of any smooth metric the mean of the p_e is theta up to O(1/E), and their
variance over E is the variance of theta for new examples. So one analysis does for every metric.

All theta_e come from the sums over all examples minus those of one, in O(E); nothing is computed E times.
"""
