package mask

// ErrNotEmail is for the tests of what is not an e-mail address.
var ErrNotEmail = errNotEmail
