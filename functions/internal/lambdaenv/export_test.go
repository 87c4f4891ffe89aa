package lambdaenv

// These are what Options is made of.
var (
	Local     = local
	NewLog    = newLog
	RequestID = requestID
)
