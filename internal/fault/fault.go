// Package fault is the one error for what sluice depends on and does not own: the database, the
// queues, AWS's credentials and secrets.
//
// An Error says what happened and where (What), and what to do about it (Remedy). Both hold names
// of settings, hosts and objects of the database, and never a value of a message or of a secret:
// the packages that build one ensure that. Network is the one place that classifies errors of
// networks and of TLS.
//
// It imports only message: the stores, sqs and credentials build its errors, and everyone may
// read them.
package fault

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"example.com/owner/sluice/internal/message"
)

// Source is what failed. It is the first part of the errorType that Lambda shows, as in
// "DatabaseError".
type Source string

// The sources.
const (
	Database    Source = "Database"
	Queue       Source = "Queue"
	Credentials Source = "Credentials"
)

// Error is why something outside sluice failed.
type Error struct {
	Source Source
	// Cause is message.CauseTransient, message.CauseConfiguration, message.CauseUnsent for a message
	// that a queue does not take, or message.CausePanic for a panic during a call.
	Cause message.Cause
	// Code is the code of the other side: an SQLSTATE, a result code of SQLite, an error code of AWS.
	// It is empty if nobody answered.
	Code string
	// What is what was being done and what happened.
	What string
	// Remedy is what to do next. It is empty if only time helps.
	Remedy string
	// Err is the context's error if that ended the work, and nil otherwise. The time limit of one
	// attempt is not the context's.
	Err error
}

// Error returns What and Remedy in one line.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.What
	}
	return e.What + "; " + e.Remedy
}

// Unwrap returns the context's error, so that errors.Is finds a deadline.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the Error in err's chain, or nil.
func Of(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// Cause returns why messages that met err are returned: CauseDeadline if a deadline has passed, the
// cause of an Error, and CauseTransient for any other error, since blame needs evidence.
func Cause(err error) message.Cause {
	if errors.Is(err, context.DeadlineExceeded) {
		return message.CauseDeadline
	}
	if e := Of(err); e != nil {
		return e.Cause
	}
	return message.CauseTransient
}

// Stopped returns why a context ended, in the words that every package uses.
func Stopped(ended error) string {
	if errors.Is(ended, context.DeadlineExceeded) {
		return "no time left"
	}
	return "stopped"
}

// Panic describes what recover returned: the runtime's own errors in full, and only the type of
// anything else, which may quote what it was working on.
func Panic(cause any) string {
	if err, ok := cause.(error); ok {
		if own, ok := errors.AsType[runtime.Error](err); ok {
			return own.Error()
		}
	}
	return fmt.Sprintf("%T", cause)
}

// Names are the caller's names for its setting and commands: the packages that build errors do not
// know how sluice was configured.
type Names struct {
	// URL is the setting that holds the database's URL, as DATABASE_URL.
	URL string
	// Migrate, Schema and Check are the commands that create the tables, print their SQL and compare
	// them with the model, as people type them: sluice migrate, sluice schema, sluice check.
	Migrate, Schema, Check string
}
