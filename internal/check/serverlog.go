package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// The settings that decide what of a row the server writes to its log. Those with a dot belong to
// extensions, and exist only if the extension is loaded.
const logSQL = `SELECT name, setting FROM pg_settings WHERE name LIKE 'log\_%' OR name LIKE 'auto\_explain.%' OR name LIKE 'pgaudit.%'`

// encoding adds what characters the database cannot store.
func (d *database) encoding(encoding string) {
	switch encoding {
	case "UTF8":
		d.Add(OK, "database", "encoding", "", "the database stores every character (UTF8)")
	case "SQL_ASCII":
		d.Add(Warning, "database", "encoding", "move the table to a database with ENCODING 'UTF8'",
			"the database has no encoding (SQL_ASCII): text is stored as UTF-8 and read as anything, and the lengths of columns count bytes")
	default:
		d.Add(Warning, "database", "encoding", "move the table to a database with ENCODING 'UTF8', or accept that such messages are rejected",
			"the database's encoding is %s: text with characters that it lacks is rejected, with 22P05 or 22021", encoding)
	}
}

// serverLog judges what the server writes to its log of rows that it refuses, and of every batch.
// The grants on the table do not protect the log.
func (d *database) serverLog(ctx context.Context) error {
	rows, err := d.query(ctx, logSQL)
	if err != nil {
		return err
	}
	s := logSettings{}
	for _, row := range rows {
		s[row[0]] = row[1]
	}
	if unread := s.missing("log_min_messages", "log_error_verbosity", "log_destination", "log_statement", "log_min_duration_statement", "log_parameter_max_length", "log_parameter_max_length_on_error"); len(unread) > 0 {
		d.Add(Skipped, "database", "server_log", "", "skipped what the server's log holds of rows: this role cannot read %s", strings.Join(unread, ", "))
		return nil
	}
	before := len(d.Findings)
	if why, setting := s.refused(); why != "" {
		d.Add(Warning, "database", "log_refused_rows", d.set(setting),
			"the server's log holds each row that it refuses (%s), with all values as they would be stored: only personal fields are masked", why)
	}
	whys, settings := s.batches()
	if whys != nil {
		d.Add(Warning, "database", "log_batches", d.set(settings...),
			"the server's log holds whole batches (%s), with all values as they are stored: only personal fields are masked", strings.Join(whys, "; "))
	}
	if len(d.Findings) == before {
		d.Add(OK, "database", "server_log", "", "the server's settings keep the values of rows out of its log, except those that a trigger writes there")
	}
	return nil
}

// set returns SQL that sets settings for the role.
func (d *database) set(settings ...string) string {
	all := make([]string, len(settings))
	for i, s := range settings {
		all[i] = fmt.Sprintf("ALTER ROLE %s SET %s", d.role, s)
	}
	return strings.Join(all, "; ") + " (as an administrator), or the same in the server's configuration"
}

// logSettings are settings of the server, name to value.
type logSettings map[string]string

// missing returns those of the names that could not be read.
func (s logSettings) missing(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { _, ok := s[name]; return ok })
}

// errors reports whether the log has errors. It has what is at least as grave as log_min_messages,
// where LOG is between ERROR and FATAL.
func (s logSettings) errors() bool {
	return !slices.Contains([]string{"log", "fatal", "panic"}, s["log_min_messages"])
}

// statements reports whether the log has messages of the level LOG, at which statements are
// written.
func (s logSettings) statements() bool {
	return !slices.Contains([]string{"fatal", "panic"}, s["log_min_messages"])
}

// structured reports whether there is a log in CSV or JSON, which has the details of a message
// whatever log_error_verbosity says.
func (s logSettings) structured() bool {
	return strings.Contains(s["log_destination"], "csvlog") || strings.Contains(s["log_destination"], "jsonlog")
}

// details reports whether the log has the DETAIL and the CONTEXT of a message, which hold rows and
// parameters.
func (s logSettings) details() bool { return s["log_error_verbosity"] != "terse" || s.structured() }

// refused returns why rows that the server refuses get into its log, and the setting that keeps
// them out.
func (s logSettings) refused() (why, setting string) {
	switch {
	case !s.errors() || !s.details():
		return "", ""
	case s.structured():
		return "log_destination = " + s["log_destination"], "log_min_messages = log"
	default:
		return "log_error_verbosity = " + s["log_error_verbosity"], "log_error_verbosity = terse"
	}
}

// batches returns why the parameters of statements get into the log, and the settings that keep
// them out.
func (s logSettings) batches() (whys, settings []string) {
	var logged []string
	for name, off := range map[string][]string{
		"log_statement": {"none", "ddl"}, "log_min_duration_statement": {"-1"}, "log_min_duration_sample": {"-1"}, "log_transaction_sample_rate": {"0"},
	} {
		if v, ok := s[name]; ok && !slices.Contains(off, v) {
			logged = append(logged, name+" = "+v)
		}
	}
	if s["log_statement_sample_rate"] == "0" {
		logged = slices.DeleteFunc(logged, func(l string) bool { return strings.HasPrefix(l, "log_min_duration_sample ") })
	}
	if slices.Sort(logged); len(logged) > 0 && s.statements() && s.details() && s["log_parameter_max_length"] != "0" {
		whys, settings = append(whys, strings.Join(logged, ", ")), append(settings, "log_parameter_max_length = 0")
	}
	// A plan and an audited statement are messages, not details of one.
	plans := s.statements() && cmp.Or(s["auto_explain.log_min_duration"], "-1") != "-1"
	audited := strings.ToLower(s["pgaudit.log"])
	audits := s.statements() &&
		(s["pgaudit.role"] != "" || (strings.Contains(audited, "write") || strings.Contains(audited, "all")) && !strings.Contains(audited, "-write"))
	for _, p := range []struct {
		setting, off string
		counts       bool // without it the setting has no effect
	}{
		{"log_parameter_max_length_on_error", "0", s.errors() && s.details()},
		// From PostgreSQL 16 on auto_explain writes parameters; where it is verbose, plans have them
		// in every version.
		{"auto_explain.log_parameter_max_length", "0", plans},
		{"auto_explain.log_verbose", "off", plans},
		{"pgaudit.log_parameter", "off", audits},
	} {
		if value, ok := s[p.setting]; ok && value != p.off && p.counts {
			whys, settings = append(whys, p.setting+" = "+value), append(settings, p.setting+" = "+p.off)
		}
	}
	return whys, settings
}
