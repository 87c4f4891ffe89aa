package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// insert gives a row to the real store that the table takes, and one that it refuses.
func insert(t *testing.T, m *model.Model, databaseURL, canary string) {
	t.Helper()
	store := open(t, m, databaseURL)
	defer store.Close()
	b := batch.New(m.Table)
	reader := m.Reader(mask.Unkeyed())
	for i, locale := range []string{"good", "bad"} {
		body := fmt.Sprintf(`{"user_id": "%s-%s", "locale": "%[2]s", "ip": "203.0.113.7"}`, canary, locale)
		if bad := reader.Append(b, i, 0, &message.Message{ID: uuid.NewString(), HasBody: true, Body: []byte(body), HasSent: true, SentMillis: time.Now().UnixMilli()}); !bad.IsZero() {
			t.Fatal(bad)
		}
	}
	result, err := store.Insert(t.Context(), b)
	if err != nil || result.Verdicts[0].Outcome == result.Verdicts[1].Outcome {
		t.Fatalf("%v, %+v", err, result)
	}
}

// The findings are no theory: a row is in the server's log when they say so, and their remedies
// keep it out.
func TestTheServersLog(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.ServerConfig{})
	m := load(t, "user_logins")
	db := server.New(t, append(m.DDL(), "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'bad')")...)
	version := db.Version(t)
	const (
		refused = "warning log_refused_rows"
		batches = "warning log_batches"
		terse   = "log_error_verbosity = terse"
		plans   = "session_preload_libraries = auto_explain"
		planned = "auto_explain.log_min_duration = 0"
	)
	for i, tt := range []struct {
		name string
		// set are settings of the role.
		set  []string
		want []string
	}{
		{"as it comes", nil, []string{refused}},
		{"verbose", []string{"log_error_verbosity = verbose"}, []string{refused}},
		{"terse", []string{terse}, nil},
		{"no errors", []string{"log_min_messages = log"}, nil},
		{"no statements of errors", []string{"log_min_error_statement = panic"}, []string{refused}},
		{"all statements", []string{"log_statement = 'all'"}, []string{refused, batches}},
		{"statements that change something", []string{"log_statement = mod", "log_min_messages = log"}, []string{batches}},
		{"statements that define something", []string{"log_statement = ddl", terse}, nil},
		{"nothing below fatal", []string{"log_statement = 'all'", "log_min_messages = fatal"}, nil},
		{"all statements, tersely", []string{"log_statement = 'all'", terse}, nil},
		{"all statements without parameters", []string{"log_statement = 'all'", "log_parameter_max_length = 0"}, []string{refused}},
		{"the beginnings of parameters", []string{"log_statement = 'all'", "log_parameter_max_length = 20000", "log_min_messages = log"}, []string{batches}},
		{"slow statements", []string{"log_min_duration_statement = 0", "log_min_messages = log"}, []string{batches}},
		{"some slow statements", []string{"log_min_duration_sample = 0", "log_min_messages = log", "log_statement_sample_rate = 1"}, []string{batches}},
		{"none of the slow statements", []string{"log_min_duration_sample = 0", terse, "log_statement_sample_rate = 0"}, nil},
		{"some transactions", []string{"log_transaction_sample_rate = 1", "log_min_messages = log"}, []string{batches}},
		{"durations alone", []string{"log_duration = on", terse}, nil},
		{"parameters of errors", []string{"log_parameter_max_length_on_error = -1"}, []string{refused, batches}},
		{"parameters of errors, tersely", []string{"log_parameter_max_length_on_error = -1", terse}, nil},
		{"plans", []string{plans, planned, terse}, map[bool][]string{true: {batches}}[version >= 160000]},
		{"plans of nothing", []string{plans, terse, "auto_explain.log_verbose = on"}, nil},
		{"plans in detail", []string{plans, planned, terse, "auto_explain.log_verbose = on"}, []string{batches}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			role := db.Role(t, func(role string) []string { return []string{"GRANT ALL ON user_logins TO " + role} })
			for _, s := range tt.set {
				db.Exec(t, fmt.Sprintf("ALTER ROLE %s SET %s", role.User, s))
			}
			f := look(t, m, role.URL)
			want(t, f, slices.DeleteFunc(slices.Clone(tt.want), func(s string) bool { return s == refused })...)
			warned := slices.ContainsFunc(f, func(x check.Finding) bool { return x.Rule == "log_refused_rows" })
			if warned != slices.Contains(tt.want, refused) {
				t.Errorf("of refused rows it warns %v: %+v", warned, f)
			}
			canary := fmt.Sprintf("canary%d", i)
			insert(t, m, role.URL, canary)
			log := server.Log(t)
			if got := strings.Contains(log, canary+"-good"); got != slices.Contains(tt.want, batches) {
				t.Errorf("the log has the row that was stored: %v", got)
			}
			if got := strings.Contains(log, canary+"-bad"); got && tt.want == nil || !got && slices.Contains(tt.want, refused) {
				t.Errorf("the log has the row that was refused: %v", got)
			}
			for _, x := range f {
				if sql, _, ok := strings.Cut(x.Remedy, " (as an administrator)"); ok {
					db.Exec(t, sql)
				}
			}
			insert(t, m, role.URL, canary+"again")
			if strings.Contains(server.Log(t), canary+"again") {
				t.Error("the remedies do not keep rows out of the log")
			}
		})
	}
}

// What a server of the tests does not have is shadowed, so that it seems set.
func TestLogsOfOtherServers(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	for _, tt := range []struct {
		name string
		// set are settings instead of the server's; a value of - takes one away.
		set  map[string]string
		want string
		says string
	}{
		{"CSV has the details of terse messages", map[string]string{"log_error_verbosity": "terse", "log_destination": "stderr,csvlog"}, "warning log_refused_rows", "SET log_min_messages = log"},
		{"and JSON", map[string]string{"log_error_verbosity": "terse", "log_destination": "jsonlog", "log_statement": "all"}, "warning log_refused_rows, warning log_batches", "log_parameter_max_length = 0"},
		{"syslog", map[string]string{"log_error_verbosity": "terse", "log_destination": "syslog"}, "", "keep the values of rows out"},
		{"an audit", map[string]string{"log_error_verbosity": "terse", "pgaudit.log": "write, ddl", "pgaudit.role": "", "pgaudit.log_parameter": "on"}, "warning log_batches", "pgaudit.log_parameter = off"},
		{"an audit by role", map[string]string{"log_error_verbosity": "terse", "pgaudit.log": "none", "pgaudit.role": "auditor", "pgaudit.log_parameter": "on"}, "warning log_batches", ""},
		{"an audit of something else", map[string]string{"log_error_verbosity": "terse", "pgaudit.log": "all, -write", "pgaudit.role": "", "pgaudit.log_parameter": "on"}, "", ""},
		{"an audit without parameters", map[string]string{"log_error_verbosity": "terse", "pgaudit.log": "all", "pgaudit.role": "", "pgaudit.log_parameter": "off"}, "", ""},
		{"settings that are hidden", map[string]string{"log_destination": "-", "log_statement": "-"}, "skipped server_log", "cannot read log_destination, log_statement"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, m.DDL()...)
			var names, added []string
			for name, value := range tt.set {
				names = append(names, "'"+name+"'")
				if value != "-" {
					added = append(added, fmt.Sprintf("UNION ALL SELECT '%s', '%s', 'default'", name, value))
				}
			}
			db.Exec(t, fmt.Sprintf("CREATE VIEW pg_settings AS SELECT name, setting, source FROM pg_catalog.pg_settings WHERE name NOT IN (%s) %s", strings.Join(names, ", "), strings.Join(added, " ")))
			f := look(t, m, setParameter(t, db.URL, "search_path", db.Schema+",pg_catalog"))
			var got []string
			for _, x := range f {
				if x.Severity != check.OK {
					got = append(got, string(x.Severity)+" "+x.Rule)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %v, want %s: %+v", got, tt.want, f)
			}
			says(t, f, tt.says)
		})
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	for encoding, says := range map[string]string{"UTF8": "every character", "LATIN1": "text with characters that it lacks is rejected", "WIN1252": "WIN1252", "EUC_JP": "EUC_JP", "SQL_ASCII": "count bytes"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t, "TEMPLATE template0 ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C'", m.DDL()...)
			f := look(t, m, db.URL)
			if encoding == "UTF8" {
				want(t, f)
			} else {
				want(t, f, "warning encoding")
			}
			if got := finding(t, f, "encoding"); !strings.Contains(got.What, says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
