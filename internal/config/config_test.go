package config_test

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/config"
)

// ignoring is a model that discards what it takes.
const ignoring = "model: tests\nwhen: {path: $.Event, one_of: [\"s3:TestEvent\"]}\nignore: true\n"

const (
	databaseURL = "postgres://user:canary-password@localhost/logins"
	key         = "canary-key-canary-key-canary-key"
	queueURL    = "https://sqs.eu-central-1.amazonaws.com/123456789012/logins"
)

// good is an environment that is enough for every need.
func good() map[string]string {
	return map[string]string{"DATABASE_URL": databaseURL, "SLUICE_MASK_KEYS": "k1:" + key, "SQS_URL": queueURL}
}

// with is good() with changes: pairs of a name and a value.
func with(change ...string) map[string]string {
	environ := good()
	for pair := range slices.Chunk(change, 2) {
		environ[pair[0]] = pair[1]
	}
	return environ
}

func load(environ map[string]string) (*config.Config, error) {
	return config.Load(environ, config.Database, config.Masks, config.Queue)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(path string) string { // as Kubernetes mounts a secret
		t.Helper()
		if err := os.Symlink(path, path+"-link"); err != nil {
			t.Fatal(err)
		}
		return path + "-link"
	}
	type result struct {
		Database, Secret, MaskSecret, Model, Masks, Queue, DeadLetters string
		IAM, Backoff                                                   bool
		Level                                                          slog.Level
	}
	plain := result{Database: databaseURL, Model: "user_logins", Masks: "k1", Queue: queueURL}
	changed := func(change func(*result)) result {
		r := plain
		change(&r)
		return r
	}
	for _, tt := range []struct {
		name    string
		environ map[string]string
		want    result
	}{
		{"the least", good(), plain},
		{"an empty variable is an unset one", with("SLUICE_MASK", "", "SLUICE_MODEL", "", "SLUICE_BACKOFF", "", "LOG_LEVEL", "", "PG_URL", "", "AWS_LAMBDA_LOG_LEVEL", "", "DATABASE_IAM_AUTH", "", "DEAD_LETTER_QUEUE_URL", ""), plain},
		{"PG_URL instead of DATABASE_URL", with("DATABASE_URL", "", "PG_URL", databaseURL), plain},
		{"PG_URL is the same", with("PG_URL", databaseURL), plain},
		{"a secret instead of the URL", with("DATABASE_URL", "", "DATABASE_SECRET_ARN", "arn:x"), changed(func(r *result) { r.Database, r.Secret = "", "arn:x" })},
		{"a secret beside the URL", with("DATABASE_SECRET_ARN", "arn:x"), changed(func(r *result) { r.Secret = "arn:x" })},
		{"a token of IAM", with("DATABASE_IAM_AUTH", "true"), changed(func(r *result) { r.IAM = true })},
		{"keys in a secret", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_SECRET_ARN", "arn:y"), changed(func(r *result) { r.Masks, r.MaskSecret = "", "arn:y" })},
		{"unkeyed masks", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK", "sha256"), changed(func(r *result) { r.Masks = "sha256" })},
		{"two keys", with("SLUICE_MASK_KEYS", "k2:"+key+"2,k1:"+key), changed(func(r *result) { r.Masks = "k2 k1" })},
		{"another model", with("SLUICE_MODEL", "orders"), changed(func(r *result) { r.Model = "orders" })},
		{"a list of models", with("SLUICE_MODEL", file("test.yaml", ignoring)+", orders"), changed(func(r *result) { r.Model = "tests orders" })},
		{"a model's path", with("SLUICE_MODEL", "../../models/user_logins_plain.yaml"), changed(func(r *result) { r.Model = "user_logins_plain" })},
		{"a dead-letter queue", with("DEAD_LETTER_QUEUE_URL", "http://localhost:4566/000000000000/dead"), changed(func(r *result) { r.DeadLetters = "http://localhost:4566/000000000000/dead" })},
		{"back-off", with("SLUICE_BACKOFF", "TRUE"), changed(func(r *result) { r.Backoff = true })},
		{"back-off as a number", with("SLUICE_BACKOFF", "1"), changed(func(r *result) { r.Backoff = true })},
		{"back-off off", with("SLUICE_BACKOFF", "off"), plain},
		{"a level", with("LOG_LEVEL", "WARN"), changed(func(r *result) { r.Level = slog.LevelWarn })},
		{"a level in another word", with("LOG_LEVEL", "warning"), changed(func(r *result) { r.Level = slog.LevelWarn })},
		{"Lambda's level wins", with("LOG_LEVEL", "error", "AWS_LAMBDA_LOG_LEVEL", "DEBUG"), changed(func(r *result) { r.Level = slog.LevelDebug })},
		{"Lambda's level TRACE", with("AWS_LAMBDA_LOG_LEVEL", "TRACE"), changed(func(r *result) { r.Level = slog.LevelDebug })},
		{"Lambda's level FATAL", with("AWS_LAMBDA_LOG_LEVEL", "FATAL"), changed(func(r *result) { r.Level = slog.LevelError })},
		{"variables of others", with("PATH", "/bin", "PGPASSWORD", "x"), plain},
		{"names of others that look like ours", with("DATABASE_URI", "x", "DATABASE_HOST", "x", "DATABASE_SECRET", "x", "DATABASE_PASSWORD_FILE", "x", "SNS_URL", "x", "SQS_URLS", "x", "LOGLEVEL", "x", "PGURL", "x", "MODEL", "x", "MASK_KEYS", "x", "DEAD_LETTER_QUEUE_ARN", "x", "SLUICES", "x", "SLUICEGATE_URL", "x"), plain},
		{"an unknown variable that is empty", with("SLUICE_MDOEL", "", "sluice_model", ""), plain},
		{"a service of Kubernetes that is named sluice", with("SLUICE_SERVICE_HOST", "10.0.0.1", "SLUICE_SERVICE_PORT", "9464", "SLUICE_SERVICE_PORT_METRICS", "9464", "SLUICE_PORT", "tcp://10.0.0.1:9464", "SLUICE_PORT_9464_TCP", "x", "SLUICE_PORT_9464_TCP_PROTO", "tcp", "SLUICE_PORT_9464_TCP_PORT", "9464", "SLUICE_PORT_9464_TCP_ADDR", "10.0.0.1",
			"SLUICE_LOGINS_METRICS_SERVICE_HOST", "10.0.0.1", "SLUICE_LOGINS_METRICS_PORT_53_UDP", "x"), plain},
		{"a URL in a file", with("DATABASE_URL", "", "DATABASE_URL_FILE", file("url", databaseURL+"\n")), plain},
		{"a URL in a file of Windows", with("DATABASE_URL", "", "DATABASE_URL_FILE", file("url-crlf", databaseURL+"\r\n")), plain},
		{"a URL in a file without a newline", with("DATABASE_URL", "", "DATABASE_URL_FILE", file("url-bare", databaseURL)), plain},
		{"keys in a file", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_KEYS_FILE", file("keys", "k2:"+key+"2,k1:"+key+"\n")), changed(func(r *result) { r.Masks = "k2 k1" })},
		{"a file behind a link", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_KEYS_FILE", link(file("linked", "k1:"+key))), plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := maps.Clone(tt.environ)
			c, err := load(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range c.Models.Models {
				names = append(names, m.Name)
			}
			got := result{
				Database: c.DatabaseURL, Secret: c.DatabaseSecretARN, MaskSecret: c.MaskSecretARN, Model: strings.Join(names, " "),
				Queue: c.QueueURL, DeadLetters: c.DeadLetterQueueURL, IAM: c.DatabaseIAMAuth, Backoff: c.Backoff, Level: c.LogLevel,
			}
			if c.Keys != nil {
				got.Masks = strings.Join(c.Keys.IDs(), " ")
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if got := config.LogLevel(tt.environ); got != tt.want.Level {
				t.Errorf("LogLevel: got %v, want %v", got, tt.want.Level)
			}
			if diff := cmp.Diff(tt.environ, before); diff != "" {
				t.Errorf("the environment was changed:\n%s", diff)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		environ map[string]string
		want    []string // a part of each problem, in order
	}{
		{"nothing is set", nil, []string{"DATABASE_URL is not set", "nothing says how to mask", "SQS_URL is not set"}},
		{"empty variables", map[string]string{"DATABASE_URL": "", "SLUICE_MASK_KEYS": "", "SLUICE_MASK": "", "SQS_URL": ""}, []string{"DATABASE_URL is not set", "nothing says how to mask", "SQS_URL is not set"}},
		{"two URLs", with("PG_URL", "postgres://localhost/other"), []string{"DATABASE_URL and PG_URL are both set and differ"}},
		{"a secret and a token", with("DATABASE_SECRET_ARN", "arn:x", "DATABASE_IAM_AUTH", "true"), []string{"DATABASE_IAM_AUTH and DATABASE_SECRET_ARN are both set"}},
		{"a token without a URL", with("DATABASE_URL", "", "DATABASE_IAM_AUTH", "true"), []string{"DATABASE_IAM_AUTH needs DATABASE_URL (or PG_URL) with", "DATABASE_URL is not set (nor PG_URL, its other name)"}},
		{"keys and the word", with("SLUICE_MASK", "sha256"), []string{"SLUICE_MASK_KEYS and SLUICE_MASK are set together"}},
		{"keys and a secret", with("SLUICE_MASK_SECRET_ARN", "arn:y"), []string{"SLUICE_MASK_KEYS and SLUICE_MASK_SECRET_ARN are set together"}},
		{"a secret and the word", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_SECRET_ARN", "arn:y", "SLUICE_MASK", "sha256"), []string{"SLUICE_MASK_SECRET_ARN and SLUICE_MASK are set together"}},
		{"all three", with("SLUICE_MASK_SECRET_ARN", "arn:y", "SLUICE_MASK", "sha256"), []string{"SLUICE_MASK_KEYS and SLUICE_MASK_SECRET_ARN and SLUICE_MASK are set together"}},
		{"another word", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK", "SHA256"), []string{"SLUICE_MASK can only be sha256"}},
		{"a short key", with("SLUICE_MASK_KEYS", "k1:canary-password"), []string{"SLUICE_MASK_KEYS: key k1 has 15 bytes, want at least 32"}},
		{"a key without an id", with("SLUICE_MASK_KEYS", key), []string{"SLUICE_MASK_KEYS: entry 1 of the list has no colon"}},
		{"an id that is taken", with("SLUICE_MASK_KEYS", "sha256:"+key), []string{"SLUICE_MASK_KEYS: key 1 has an invalid id"}},
		{"a short second key", with("SLUICE_MASK_KEYS", "k2:"+key+",k1:canary-password"), []string{"SLUICE_MASK_KEYS: key k1 has 15 bytes"}},
		{"an unknown model", with("SLUICE_MODEL", "nosuch"), []string{`SLUICE_MODEL: no model is named "nosuch"; there are orders, user_logins, user_logins_plain`}},
		{"a model that is not valid, and no masks", with("SLUICE_MASK_KEYS", "", "SLUICE_MODEL", "nosuch"), []string{`SLUICE_MODEL: no model is named "nosuch"`}},
		{"a model's path that is none", with("SLUICE_MODEL", "./nosuch.yaml"), []string{"SLUICE_MODEL: read the model file: open ./nosuch.yaml"}},
		{"a list with a model that is none", with("SLUICE_MODEL", "orders,nosuch,./nosuch.yaml"), []string{`SLUICE_MODEL: no model is named "nosuch"`, "SLUICE_MODEL: read the model file: open ./nosuch.yaml"}},
		{"a list with a model twice", with("SLUICE_MODEL", "orders,orders"), []string{"SLUICE_MODEL: the list of models has orders twice"}},
		{"a misspelt variable", with("SLUICE_MDOEL", "canary-key"), []string{"unknown variable SLUICE_MDOEL; did you mean SLUICE_MODEL?"}},
		{"a variable in lower case", with("sluice_model", "orders"), []string{"unknown variable sluice_model; did you mean SLUICE_MODEL?"}},
		{"the singular", with("SLUICE_MASK_KEY", "canary-key"), []string{"did you mean SLUICE_MASK_KEYS?"}},
		{"a shorter name", with("SLUICE_MASK_SECRET", "canary-key"), []string{"did you mean SLUICE_MASK_SECRET_ARN?"}},
		{"an underscore too many", with("SLUICE_BACK_OFF", "true"), []string{"did you mean SLUICE_BACKOFF?"}},
		{"a prefix too many", with("SLUICE_DATABASE_URL", "canary-key", "SLUICE_SQS_URL", "x", "SLUICE_LOG_LEVEL", "x"), []string{"unknown variable SLUICE_DATABASE_URL; did you mean DATABASE_URL?", "unknown variable SLUICE_SQS_URL; did you mean SQS_URL?", "unknown variable SLUICE_LOG_LEVEL; did you mean LOG_LEVEL?"}},
		{"a variable of a dream", with("SLUICE_TURBO_ENCABULATOR", "on"), []string{"unknown variable SLUICE_TURBO_ENCABULATOR; there are SLUICE_BACKOFF, SLUICE_MASK, SLUICE_MASK_KEYS, SLUICE_MASK_KEYS_FILE, SLUICE_MASK_SECRET_ARN, SLUICE_METRICS_ADDR, SLUICE_MODEL"}},
		{"a prefix and nothing", with("SLUICE_", "on"), []string{"unknown variable SLUICE_; "}},
		{"slips in the prefix", with("SLUCIE_MODEL", "orders", "SLUICEMODEL", "orders", "Sluce_Backoff", "true"), []string{"unknown variable SLUCIE_MODEL; did you mean SLUICE_MODEL?", "unknown variable SLUICEMODEL; did you mean SLUICE_MODEL?", "unknown variable Sluce_Backoff; did you mean SLUICE_BACKOFF?"}},
		{"slips in other names", with("DATABASE_SECRET_ANR", "arn:x", "DEADLETTERQUEUE_URL", "x", "DATABASE_IAMAUTH", "true", "DATABASE_URLFILE", "x"), []string{"unknown variable DATABASE_SECRET_ANR; did you mean DATABASE_SECRET_ARN?", "unknown variable DEADLETTERQUEUE_URL; did you mean DEAD_LETTER_QUEUE_URL?", "unknown variable DATABASE_IAMAUTH; did you mean DATABASE_IAM_AUTH?", "unknown variable DATABASE_URLFILE; did you mean DATABASE_URL_FILE?"}},
		{"a name that is nearly the missing one", map[string]string{"DATABASE_URI": "canary-password", "sqs_url": "x", "SLUICE_MASK": "sha256"}, []string{"(DATABASE_URI is set: did you mean DATABASE_URL?)", "(sqs_url is set: did you mean SQS_URL?)"}},
		{"an unknown variable beside other problems", map[string]string{"SLUICE_MDOEL": "x", "LOG_LEVEL": "loud"}, []string{"DATABASE_URL is not set", "unknown variable SLUICE_MDOEL", "nothing says how to mask", "LOG_LEVEL", "SQS_URL is not set"}},
		{"a key with a mark", with("SLUICE_MASK_KEYS", `k1:"`+key+`"`), []string{"SLUICE_MASK_KEYS: key k1 begins with a quote"}},
		{"a URL with a line break", with("DATABASE_URL", databaseURL+"\n"), []string{"DATABASE_URL has a control character"}},
		{"a URL and its file", with("DATABASE_URL_FILE", "x"), []string{"DATABASE_URL and DATABASE_URL_FILE are set together, and each says where the rows go"}},
		{"PG_URL and a file", with("DATABASE_URL", "", "PG_URL", databaseURL, "DATABASE_URL_FILE", "x"), []string{"PG_URL and DATABASE_URL_FILE are set together"}},
		{"keys and their file", with("SLUICE_MASK_KEYS_FILE", "x"), []string{"SLUICE_MASK_KEYS and SLUICE_MASK_KEYS_FILE are set together"}},
		{"a file and the word", with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_KEYS_FILE", "x", "SLUICE_MASK", "sha256"), []string{"SLUICE_MASK_KEYS_FILE and SLUICE_MASK are set together"}},
		{"no queue's URL", with("SQS_URL", "logins"), []string{"SQS_URL is not a valid queue URL; expected https://sqs."}},
		{"a queue's ARN", with("DEAD_LETTER_QUEUE_URL", "arn:aws:sqs:eu-central-1:123456789012:dead"), []string{"DEAD_LETTER_QUEUE_URL is not a valid queue URL; expected https://sqs."}},
		{"neither true nor false", with("SLUICE_BACKOFF", "maybe", "DATABASE_IAM_AUTH", "maybe"), []string{`DATABASE_IAM_AUTH "maybe"`, `SLUICE_BACKOFF "maybe"`}},
		{"no level", with("LOG_LEVEL", "loud"), []string{`LOG_LEVEL "loud" is not a log level`}},
		{"no level of Lambda's", with("AWS_LAMBDA_LOG_LEVEL", "loud"), []string{`AWS_LAMBDA_LOG_LEVEL "loud" is not a log level`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := load(tt.environ)
			problems, ok := errors.AsType[*config.ConfigError](err)
			if !ok || c == nil {
				t.Fatalf("got %v, %v, want a ConfigError and what is right", c, err)
			}
			got := slices.Sorted(slices.Values(problems.Problems))
			if len(got) != len(tt.want) {
				t.Fatalf("got %d problems, want %d: %q", len(got), len(tt.want), got)
			}
			for i, want := range slices.Sorted(slices.Values(tt.want)) {
				if !strings.Contains(got[i], want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
			for _, secret := range []string{"canary-password", "canary-key"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret shows: %v", err)
				}
			}
			if lines := strings.Count(err.Error(), "\n  "); len(got) > 1 && lines != len(got) {
				t.Errorf("%d problems on %d lines: %v", len(got), lines, err)
			}
		})
	}
}

// TestFiles: an error about a file names the file and what is wrong with it,
// and nothing of what it holds, nor a secret that stands where its path belongs.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const path = "path" // stands for the path in what is wanted
	for _, tt := range []struct{ name, file, want string }{
		{"missing", filepath.Join(dir, "missing"), path + ": no such file or directory"},
		{"missing, relative", "./missing", path + ": no such file or directory"},
		{"missing, a name alone", "missing.txt", path + ": no such file or directory"},
		{"a folder", dir, path + ": is a directory"},
		{"below a file", filepath.Join(file("plain", "x", 0o600), "url"), path + ": not a directory"},
		{"empty", file("empty", "", 0o600), path + ": is empty"},
		{"a newline alone", file("newline", "\n", 0o600), path + ": is empty"},
		{"huge", file("huge", strings.Repeat("canary-key", 10_000), 0o600), path + ": has more than 65536 bytes"},
		{"a device", "/dev/null", path + ": is not a regular file"},
		{"a URL instead of its path", databaseURL, "must be the path of a file, and its value does not look like one"},
		{"keys instead of their path", "k1:" + key, "must be the path of a file, and its value does not look like one"},
		{"a short key instead of its path", "k1:canary-key", "must be the path of a file, and its value does not look like one"},
		{"a key instead of its path", key, "must be the path of a file, and its value does not look like one"},
	} {
		for variable, unset := range map[string]string{"DATABASE_URL_FILE": "DATABASE_URL", "SLUICE_MASK_KEYS_FILE": "SLUICE_MASK_KEYS"} {
			_, err := load(with(unset, "", variable, tt.file))
			want := variable + " " + tt.want
			if detail, ok := strings.CutPrefix(tt.want, path); ok {
				want = variable + ": " + tt.file + detail
			}
			if err == nil || err.Error() != "configuration: "+want {
				t.Errorf("%s, %s: got %v, want %s", tt.name, variable, err, want)
			}
		}
	}
	// Only the last newline is the editor's: more of them are in the value.
	for name, text := range map[string]string{"two newlines": "k1:" + key + "\n\n", "a byte order mark": "\ufeffk1:" + key, "a space before the newline": "k1:" + key + " \n", "two lines": "k1:" + key + "\nk2:" + key + "2\n", "quotes": "'k1:" + key + "'"} {
		_, err := load(with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_KEYS_FILE", file(name, text, 0o600)))
		if err == nil || !strings.HasPrefix(err.Error(), "configuration: SLUICE_MASK_KEYS_FILE: key ") || strings.Contains(err.Error(), "canary-key") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestAModelThatMasksNothing needs no keys. What is set must be right all the same.
func TestAModelThatMasksNothing(t *testing.T) {
	t.Parallel()
	write := func(column string) string {
		path := filepath.Join(t.TempDir(), "coupons.yaml")
		text := "model: coupons\ntable: coupons\nkey: [code]\nfields:\n  code: {type: text, required: true}\ncolumns:\n  code: {type: varchar(40), from: code}\n" + column
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	coupons := write("")
	for name, environ := range map[string]map[string]string{
		"nothing":  with("SLUICE_MASK_KEYS", "", "SLUICE_MODEL", coupons),
		"keys":     with("SLUICE_MODEL", coupons),
		"a secret": with("SLUICE_MASK_KEYS", "", "SLUICE_MASK_SECRET_ARN", "arn:y", "SLUICE_MODEL", coupons),
		"the word": with("SLUICE_MASK_KEYS", "", "SLUICE_MASK", "sha256", "SLUICE_MODEL", coupons),
	} {
		c, err := load(environ)
		if err != nil || c.Keys == nil || c.MaskSecretARN != "" {
			t.Errorf("%s: got %v, want keys without fetching any", name, err)
		}
	}
	for want, environ := range map[string]map[string]string{
		"key k1 has 5 bytes":       with("SLUICE_MASK_KEYS", "k1:short", "SLUICE_MODEL", coupons),
		"SLUICE_MASK can only be":  with("SLUICE_MASK_KEYS", "", "SLUICE_MASK", "md5", "SLUICE_MODEL", coupons),
		"are set together":         with("SLUICE_MASK", "sha256", "SLUICE_MODEL", coupons),
		"nothing says how to mask": with("SLUICE_MASK_KEYS", "", "SLUICE_MODEL", write("  mask_key: {type: varchar(32), meta: mask_key}\n")),
	} {
		if _, err := load(environ); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestNeeds asks only for what a command cannot do without.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		needs []config.Need
		want  int
	}{
		"nothing": {nil, 0}, "a database": {[]config.Need{config.Database}, 1}, "masks": {[]config.Need{config.Masks}, 1}, "a queue": {[]config.Need{config.Queue}, 1},
		"everything": {[]config.Need{config.Database, config.Masks, config.Queue}, 3},
	} {
		_, err := config.Load(nil, tt.needs...)
		got := 0
		if problems, ok := errors.AsType[*config.ConfigError](err); ok {
			got = len(problems.Problems)
		}
		if got != tt.want || (err == nil) != (tt.want == 0) {
			t.Errorf("%s: got %v, want %d problems", name, err, tt.want)
		}
	}
}

// TestEachProblemOfAModelFileHasItsLine: each is a problem of the configuration, with the variable's
// name, so that a log of one line for each still shows where.
func TestEachProblemOfAModelFileHasItsLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(path, []byte("model: m\ntable: t\nkey: [id]\nfields:\n  a: {type: txt}\n  b: {type: ip}\ncolumns:\n  id: {type: uuid, meta: message_id}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := load(with("SLUICE_MODEL", path))
	problems, ok := errors.AsType[*config.ConfigError](err)
	if !ok {
		t.Fatalf("got %v, want a ConfigError", err)
	}
	for _, line := range problems.Problems {
		if !strings.HasPrefix(line, "SLUICE_MODEL: "+path+":") || strings.Contains(line, "\n") {
			t.Errorf("the line does not say where: %s", line)
		}
	}
	for _, want := range []string{":5: field a has the unknown type", ":6: field b is of type ip, which is personal"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestEnviron(t *testing.T) {
	t.Setenv("SLUICE_MODEL", "")
	t.Setenv("LOG_LEVEL", "debug=1")
	environ := config.Environ()
	if _, ok := environ["SLUICE_MODEL"]; ok {
		t.Error("an empty variable is set")
	}
	if environ["LOG_LEVEL"] != "debug=1" {
		t.Errorf("got %q", environ["LOG_LEVEL"])
	}
}

// TestDatabaseVariable is the one that was set.
func TestDatabaseVariable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		environ map[string]string
		want    string
	}{
		{nil, "DATABASE_URL"},
		{good(), "DATABASE_URL"},
		{map[string]string{"DATABASE_URL_FILE": "/run/secrets/url"}, "DATABASE_URL_FILE"},
		{with("PG_URL", databaseURL), "DATABASE_URL"},
		{with("DATABASE_URL", "", "PG_URL", databaseURL), "PG_URL"},
		{map[string]string{"PG_URL": databaseURL}, "PG_URL"},
	} {
		if got := config.DatabaseVariable(tt.environ); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	names := config.Variables()
	for _, want := range []string{"DATABASE_URL", "PG_URL", "SLUICE_MODEL", "SLUICE_MASK_KEYS", "SLUICE_MASK", "SQS_URL", "LOG_LEVEL"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %q", want, names)
		}
	}
}
