package mask

// ErrNotEmail is for the tests of what is not an e-mail address.
var ErrNotEmail = errNotEmail

// AppendHex is for the test that compares it with package hex.
var AppendHex = appendHex
