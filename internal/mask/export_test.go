package mask

// ErrNotText is for the test of what SetJSON returns.
var ErrNotText = errNotText
