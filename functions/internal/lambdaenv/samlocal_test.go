package lambdaenv_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"

	"example.com/owner/sluice/functions/internal/lambdaenv"
	"example.com/owner/sluice/internal/app"
)

// thisMachine is the name of this machine in the container.
const thisMachine = "host.docker.internal"

// adapt returns what the function gets, and what is logged.
func adapt(environ map[string]string) (local map[string]string, logged string) {
	var b strings.Builder
	local = lambdaenv.Local(app.Options{Environ: environ, Log: slog.New(slog.NewTextHandler(&b, nil))}).Environ
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

// TestADatabaseOnThisMachine is looked up by the name that this machine has in the
// container, and others by their own.
func TestADatabaseOnThisMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	lookup := lambdaenv.Local(app.Options{Environ: passed(nil), Log: slog.New(slog.NewTextHandler(&b, nil))}).Lookup
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a name is not resolved then: its error names it
	for host, want := range map[string]string{
		"10.0.0.7": "10.0.0.7", "2001:db8::1": "2001:db8::1", "localhost.example.invalid": "localhost.example.invalid",
		"localhost": thisMachine, "LOCALHOST": thisMachine, "127.0.0.1": thisMachine, "127.8.9.1": thisMachine, "::1": thisMachine,
	} {
		addresses, err := lookup(ctx, host)
		got := strings.Join(addresses, " ")
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			got = dns.Name
		}
		if got != want {
			t.Errorf("%s: looked up %s, %v, want %s", host, got, err, want)
		}
	}
	if strings.Count(b.String(), thisMachine) != 1 {
		t.Errorf("the log is %s", &b)
	}
	if lambdaenv.Local(app.Options{}).Lookup != nil {
		t.Error("hosts are looked up otherwise outside of sam local")
	}
}

func TestTheLogHoldsNoPassword(t *testing.T) {
	t.Parallel()
	_, logged := adapt(passed(map[string]string{"DATABASE_URL": "postgres://u:secret@localhost/app", "SLUICE_MASK_SECRET_ARN": "secret", "DEAD_LETTER_QUEUE_URL": "secret"}))
	if logged == "" || strings.Contains(logged, "secret@") || strings.Contains(logged, " secret") || strings.Contains(logged, ":secret") {
		t.Errorf("the log is %q", logged)
	}
}
