package fault

import "sluice/internal/message"

// Fault is Cause, for message.FaultOf. Both go when everybody reads Cause.
func (e *Error) Fault() message.Cause { return e.Cause }
