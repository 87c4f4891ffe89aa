package infer

// ErrNothing reports that a sample has nothing to draft from.
var ErrNothing = errNothing
