// Package check looks for what would lose messages or let them pile up, before it
// does: in the database, the queues and the function that reads them.
//
//	Database   database.go  reads the catalog, the grants and the clock of a live server
//	           columns.go   a column of the model beside the live one
//	           expressions.go  rights on what defaults and constraints call
//	           serverlog.go  what the server cannot store, and what its log holds
//	           durable.go   what a crash of the server would lose
//	           policies.go  row-level security
//	           triggers.go  what stands between an INSERT and the table
//	           trial.go     whether a trigger changes the key: rows that are not stored
//	           sent.go      sent times that cannot be
//	           partitions.go  where rows of now and of soon go
//	Model      model.go     says what a model stores as it was sent
//	Queues     queues.go    judges settings that were read already
//	Functions  queues.go    judges event source mappings that were read already
//
// Each Finding says what is so and what to do about it. A rule that finds
// nothing wrong says that too, so that a report shows what was looked at; what
// could not be looked at is a finding as well. The package stores nothing
// anywhere, and no finding holds a secret or a row. Where a trigger stands before
// a row it inserts trial rows, and takes them back: sequences may advance.
//
// The command line imports it.
package check

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says how bad a finding is.
type Severity string

// The severities, the gravest first.
const (
	// Error: messages would be lost, refused or kept waiting.
	Error Severity = "error"
	// Warning: it works, and something should be done about it.
	Warning Severity = "warning"
	// Skipped: it could not be looked at.
	Skipped Severity = "skipped"
	OK      Severity = "ok"
)

var severities = []Severity{Error, Warning, Skipped, OK}

// Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	// About is what was looked at: configuration, masks, database, table,
	// grants, queue, dead-letter queue or function.
	About string `json:"about"`
	// Rule is a stable word for scripts.
	Rule   string `json:"rule"`
	What   string `json:"what"`
	Remedy string `json:"remedy,omitzero"`
}

// Findings are findings in the order in which they were made.
type Findings []Finding

// Add adds one finding. What is so comes last, as a format and its values.
func (f *Findings) Add(severity Severity, about, rule, remedy, what string, args ...any) {
	*f = append(*f, Finding{severity, about, rule, fmt.Sprintf(what, args...), remedy})
}

// Failure adds an error whose text has its remedy behind a semicolon, as the
// errors of the packages that reach for something do.
func (f *Findings) Failure(about, rule string, err error) {
	what, remedy, ok := strings.Cut(err.Error(), "; ")
	if !ok && about == "configuration" {
		remedy = "correct the variable; docs/configuration.md lists them all"
	}
	f.Add(Error, about, rule, remedy, "%s", what)
}

// Count counts those of a severity.
func (f Findings) Count(s Severity) (n int) {
	for i := range f {
		if f[i].Severity == s {
			n++
		}
	}
	return n
}

// Sort puts the gravest first, and leaves those of one severity as they are.
func (f Findings) Sort() {
	slices.SortStableFunc(f, func(x, y Finding) int {
		return slices.Index(severities, x.Severity) - slices.Index(severities, y.Severity)
	})
}
