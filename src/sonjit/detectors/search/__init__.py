"""Thorough search: windows at several scales, places that other parts suggest, and a second inference for every find.

A published detector sees what is about 0.15 to 0.5 of its input; in an image of a group a hand is a tenth of that.
So it searches the whole image and tiles of halves and thirds of it, with a low threshold. What it finds is not
believed: the landmark network is run there, and again from its own keypoints. What is there converges to the same
keypoints; what is not, drifts. How far both agree, how sure they are and how many windows led there makes one score
(`LogisticRegression`), whose constants were fitted by logistic regression on images labelled by eye.

Faces are found most surely, so they come first. A face says where its body may be, the body's wrists say where hands
may be and its feet where they are not.
"""
