package samlocal_test

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"sluice/functions/internal/samlocal"
)

// adapt returns what the function gets, and what is logged.
func adapt(environ map[string]string) (local map[string]string, logged string) {
	var b strings.Builder
	local = samlocal.Environ(environ, slog.New(slog.NewTextHandler(&b, nil)))
	return local, b.String()
}

// passed is what SAM passes of the template's variables, where the shell has
// DATABASE_URL and SLUICE_MASK_KEYS.
func passed(more map[string]string) map[string]string {
	environ := map[string]string{
		"AWS_SAM_LOCAL": "true", "DATABASE_URL": "postgres://u:p@db.example.com/app", "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef",
		"DEAD_LETTER_QUEUE_URL": "DeadLetterQueue", "SLUICE_MASK_SECRET_ARN": "MaskSecret", "SLUICE_BACKOFF": "true",
		"SLUICE_MODEL": "user_logins", "DATABASE_IAM_AUTH": "false", "LOG_LEVEL": "INFO",
	}
	maps.Copy(environ, more)
	return environ
}

func TestOutsideOfSamLocalNothingChanges(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "false", "TRUE"} {
		environ := passed(map[string]string{"AWS_SAM_LOCAL": value, "DATABASE_URL": "postgres://localhost/app", "PG_URL": "postgres://127.0.0.1/app"})
		local, logged := adapt(environ)
		if !maps.Equal(local, environ) || logged != "" {
			t.Errorf("AWS_SAM_LOCAL=%q: got %v and the log %q", value, local, logged)
		}
	}
}

func TestUnresolvedNamesAreSkipped(t *testing.T) {
	t.Parallel()
	environ := passed(nil)
	local, logged := adapt(environ)
	want := maps.Clone(environ)
	for _, name := range []string{"DEAD_LETTER_QUEUE_URL", "SLUICE_MASK_SECRET_ARN", "SLUICE_BACKOFF"} {
		delete(want, name)
		if !strings.Contains(logged, name) {
			t.Errorf("the log does not name %s: %s", name, logged)
		}
	}
	if !maps.Equal(local, want) {
		t.Errorf("got %v, want %v", local, want)
	}
	if strings.Count(logged, "\n") != 1 {
		t.Errorf("not one line is logged: %q", logged)
	}
	if environ["SLUICE_BACKOFF"] == "" {
		t.Error("the environment that was given has changed")
	}
}

func TestRealNamesAreKept(t *testing.T) {
	t.Parallel()
	environ := passed(map[string]string{
		"DEAD_LETTER_QUEUE_URL":  "https://sqs.eu-central-1.amazonaws.com/123456789012/logins-dead",
		"SLUICE_MASK_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:masks-AbCdEf",
		"SLUICE_BACKOFF":         "",
	})
	if local, logged := adapt(environ); !maps.Equal(local, environ) || logged != "" {
		t.Errorf("got %v and the log %q", local, logged)
	}
}

func TestAQueueOnThisMachineIsSkipped(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"http://localhost:4566/000000000000/dead", "http://127.0.0.1:9324/queue/dead", "http://[::1]:9324/queue/dead"} {
		if local, logged := adapt(passed(map[string]string{"DEAD_LETTER_QUEUE_URL": queue})); local["DEAD_LETTER_QUEUE_URL"] != "" || !strings.Contains(logged, "DEAD_LETTER_QUEUE_URL") {
			t.Errorf("%s: got %v and the log %q", queue, local, logged)
		}
	}
}

func TestADatabaseOnThisMachine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"postgres://u:p@localhost:5432/app", "postgres://u:p@host.docker.internal:5432/app?sslmode=prefer"},
		{"postgresql://localhost/app", "postgresql://host.docker.internal/app?sslmode=prefer"},
		{"postgres://LOCALHOST", "postgres://host.docker.internal?sslmode=prefer"},
		{"postgres://u@127.0.0.1/app?connect_timeout=3", "postgres://u@host.docker.internal/app?connect_timeout=3&sslmode=prefer"},
		{"postgres://u@127.8.9.1/app", "postgres://u@host.docker.internal/app?sslmode=prefer"},
		{"postgres://u@[::1]:6432/app", "postgres://u@host.docker.internal:6432/app?sslmode=prefer"},
		{"postgres://u:a%40localhost@localhost/app", "postgres://u:a%40localhost@host.docker.internal/app?sslmode=prefer"},
		{"postgres:///app?host=localhost&port=5433", "postgres:///app?host=host.docker.internal&port=5433&sslmode=prefer"},
		{"postgres:///app?host=%3A%3A1", "postgres:///app?host=host.docker.internal&sslmode=prefer"},
		{"postgres://u@localhost:1,127.0.0.1:2/app", "postgres://u@host.docker.internal:1,host.docker.internal:2/app?sslmode=prefer"},
		{"postgres://u@localhost/app?sslmode=", "postgres://u@host.docker.internal/app?sslmode=&sslmode=prefer"}, // the last counts

		// The URL says how TLS is.
		{"postgres://u@localhost/app?sslmode=disable", "postgres://u@host.docker.internal/app?sslmode=disable"},
		{"postgres://u@localhost/app?sslmode=verify-full", "postgres://u@host.docker.internal/app?sslmode=verify-full"},
		{"postgres://u@localhost/app?ssl=true", "postgres://u@host.docker.internal/app?ssl=true"},
		// TLS of another host is not made weaker.
		{"postgres://u@localhost,db.example.com/app", "postgres://u@host.docker.internal,db.example.com/app"},
		{"postgres:///app?host=db.example.com,localhost", "postgres:///app?host=db.example.com%2Chost.docker.internal"},
		{"postgres://db.example.com/app?host=localhost", "postgres://db.example.com/app?host=host.docker.internal"},

		{"postgres://u@db.example.com/localhost", ""},
		{"postgres://localhost:p@db.example.com/app", ""},
		{"postgres://u@localhost.example.com/app", ""},
		{"postgres://u@10.0.0.7/app?application_name=localhost", ""},
		{"postgres:///app?host=%2Fvar%2Frun%2Fpostgresql", ""},
		{"postgres:///app?host=%zz", ""},
		{"postgres:///app", ""},
		{"localhost:5432", ""},
		{"", ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.url
		}
		for _, name := range []string{"DATABASE_URL", "PG_URL"} {
			environ := map[string]string{"AWS_SAM_LOCAL": "true", name: tt.url}
			local, logged := adapt(environ)
			if local[name] != want {
				t.Errorf("%s=%s: got %s, want %s", name, tt.url, local[name], want)
			}
			if said := strings.Contains(logged, "variable="+name); said != (tt.want != "") {
				t.Errorf("%s=%s: the log is %q", name, tt.url, logged)
			}
		}
	}
}

func TestTheLogHoldsNoPassword(t *testing.T) {
	t.Parallel()
	_, logged := adapt(passed(map[string]string{"DATABASE_URL": "postgres://u:secret@localhost/app", "SLUICE_MASK_SECRET_ARN": "secret", "DEAD_LETTER_QUEUE_URL": "secret"}))
	if logged == "" || strings.Contains(logged, "secret@") || strings.Contains(logged, " secret") || strings.Contains(logged, ":secret") {
		t.Errorf("the log is %q", logged)
	}
}
