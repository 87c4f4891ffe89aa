package lambdaenv

// Local and NewLog are what Options is made of.
var (
	Local  = local
	NewLog = newLog
)
