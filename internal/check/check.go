// Package check looks for what would lose messages or let them pile up, before it happens: in the
// database, the queues and the function that reads them.
//
//	Database   database.go     reads the catalog, the grants and the clock of a live server
//	           columns.go      compares a column of the model with the live one
//	           values.go       tries the values that the model has itself: constants, defaults, one_of
//	           needs.go        what the role needs beside INSERT
//	           expressions.go  rights on what defaults and constraints call
//	           serverlog.go    what the server cannot store, and what its log holds
//	           durable.go      what a crash of the server would lose
//	           policies.go     row-level security
//	           triggers.go     rules and triggers that run before an INSERT
//	           order.go        models that come before those that they refer to
//	           trial.go        what triggers do to a row: rows that are rolled back
//	           sent.go         impossible sent times
//	           partitions.go   partitions for the rows of today and next week
//	Model      model.go        lists what a model stores as it was sent
//	Sample     sample.go       tries bodies on the live table
//	Units      units.go        finds times that are likely in another unit than the model says
//	Overlaps   overlaps.go     finds bodies that two models would take
//	Rows       rows.go         finds tables that get no rows of a sample
//	Queues     queues.go       judges settings that the caller has read
//	Functions  queues.go       judges event source mappings that the caller has read
//
// Each Finding says what is the case and what to do about it. A rule that finds nothing wrong adds
// a finding too, so that a report shows what was checked; so does a check that had to be skipped.
// The package stores nothing, and no finding holds a secret or a row. If a trigger runs before a
// row is inserted, it inserts trial rows and rolls them back, and so it does with the rows of a
// sample: sequences may advance.
//
// The command line imports it.
package check

import (
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/fault"
)

// Severity is how bad a finding is.
type Severity string

// The severities, the gravest first.
const (
	// Error: messages would be lost, refused or kept waiting.
	Error Severity = "error"
	// Warning: it works, and needs attention.
	Warning Severity = "warning"
	// Skipped: the check could not be made.
	Skipped Severity = "skipped"
	OK      Severity = "ok"
)

var severities = []Severity{Error, Warning, Skipped, OK}

// Finding is the result of one check.
type Finding struct {
	Severity Severity `json:"severity"`
	// About is what was checked: configuration, masks, database, table, grants, sample, queue,
	// dead-letter queue or function.
	About string `json:"about"`
	// Rule is a stable word for scripts.
	Rule   string `json:"rule"`
	What   string `json:"what"`
	Remedy string `json:"remedy,omitzero"`
}

// Findings are findings in the order in which they were made.
type Findings []Finding

// Add adds one finding. What is the case comes last, as a format and its values.
func (f *Findings) Add(severity Severity, about, rule, remedy, what string, args ...any) {
	*f = append(*f, Finding{severity, about, rule, fmt.Sprintf(what, args...), remedy})
}

// Failure adds an error, whose remedy is a field of its own or follows a semicolon.
func (f *Findings) Failure(about, rule string, err error) {
	what, remedy, ok := strings.Cut(err.Error(), "; ")
	if e := fault.Of(err); e != nil {
		what, remedy, ok = e.What, e.Remedy, true
	}
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

// Sort puts the gravest findings first, and keeps the order of those of one severity.
func (f Findings) Sort() {
	slices.SortStableFunc(f, func(x, y Finding) int {
		return slices.Index(severities, x.Severity) - slices.Index(severities, y.Severity)
	})
}
