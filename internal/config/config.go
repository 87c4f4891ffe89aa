// Package config turns environment variables into one checked struct. It reports
// all problems together, each with what to do. No problem shows the value of a
// variable that can hold a secret.
//
// A test compares the table of variables in docs/configuration.md with this
// package. internal/app and the mains import it.
package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/caarlos0/env/v11"

	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

// variables are the environment variables as they are set, and what is wrong with them.
type variables struct {
	environ  map[string]string
	problems []string

	DatabaseURL     string `env:"DATABASE_URL"`
	PGURL           string `env:"PG_URL"`
	DatabaseURLFile string `env:"DATABASE_URL_FILE"`
	DatabaseSecret  string `env:"DATABASE_SECRET_ARN"`
	DatabaseIAM     string `env:"DATABASE_IAM_AUTH" envDefault:"false"`
	Model           string `env:"SLUICE_MODEL" envDefault:"user_logins"`
	MaskKeys        string `env:"SLUICE_MASK_KEYS"`
	MaskKeysFile    string `env:"SLUICE_MASK_KEYS_FILE"`
	MaskSecret      string `env:"SLUICE_MASK_SECRET_ARN"`
	Mask            string `env:"SLUICE_MASK"`
	Queue           string `env:"SQS_URL"`
	DeadLetters     string `env:"DEAD_LETTER_QUEUE_URL"`
	MetricsAddr     string `env:"SLUICE_METRICS_ADDR"`
	Backoff         string `env:"SLUICE_BACKOFF" envDefault:"false"`
	LogLevel        string `env:"LOG_LEVEL" envDefault:"info"`
	LambdaLevel     string `env:"AWS_LAMBDA_LOG_LEVEL"`
}

// Config is the checked configuration.
type Config struct {
	// DatabaseURL is empty when the secret has the whole login.
	DatabaseURL       string
	DatabaseSecretARN string
	DatabaseIAMAuth   bool
	// Models are tried in this order; nil if one of them is not valid.
	Models *model.Set
	// Keys is nil when the keys are in a secret, or are not configured for models
	// that mask.
	Keys *mask.Keyring
	// MaskSecretARN is empty for models that mask nothing: no key is fetched.
	MaskSecretARN      string
	QueueURL           string
	DeadLetterQueueURL string
	MetricsAddr        string // empty when metrics are not served
	Backoff            bool
	LogLevel           slog.Level
}

// Need is a part of the configuration that a command requires.
type Need int

// The parts.
const (
	Database Need = iota
	Masks
	Queue
)

// ConfigError lists everything that is wrong with the configuration.
//
//nolint:revive // Lambda shows the bare name as the errorType
type ConfigError struct{ Problems []string }

// Error lists the problems, one per line.
func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("configuration: %d problems\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// Environ returns the environment of the process without empty variables: they
// count as unset.
func Environ() map[string]string {
	all := map[string]string{}
	for _, pair := range os.Environ() { //nolint:forbidigo // read here for the mains
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			all[name] = value
		}
	}
	return all
}

// Load reads and checks the configuration. Beside an error, the Config has what
// is valid of it, so that a command can work with that.
func Load(environ map[string]string, needs ...Need) (*Config, error) {
	v := read(environ)
	v.problems = Unknown(environ)
	c := &Config{
		DatabaseURL: v.DatabaseURL, DatabaseSecretARN: v.DatabaseSecret, MaskSecretARN: v.MaskSecret, MetricsAddr: v.MetricsAddr,
		QueueURL: v.queueURL("SQS_URL", v.Queue), DeadLetterQueueURL: v.queueURL("DEAD_LETTER_QUEUE_URL", v.DeadLetters),
		DatabaseIAMAuth: v.flag("DATABASE_IAM_AUTH", v.DatabaseIAM), Backoff: v.flag("SLUICE_BACKOFF", v.Backoff),
		LogLevel: v.logLevel(),
	}
	c.database(v)
	var err error
	if c.Models, err = model.LoadSet(v.Model, models.FS); err != nil {
		c.Models = nil
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			v.problem("SLUICE_MODEL: %s", problem)
		}
	}
	c.masks(v)
	for _, need := range needs {
		switch {
		case need == Database && len(v.databases()) == 0 && v.DatabaseSecret == "":
			v.problem("DATABASE_URL is not set (nor PG_URL, its other name); set it to the database of the rows, as in postgres://user:password@host:5432/database%s", insteadOf(environ, "DATABASE_URL"))
		case need == Masks && len(v.maskings()) == 0 && c.Keys == nil && c.Models != nil: // else perhaps nothing is masked
			v.problem("nothing says how to mask personal fields; set SLUICE_MASK_KEYS=k1:<key>, with a key from `openssl rand -hex 32` (SLUICE_MASK=sha256 is for existing tables of unkeyed hashes, which anyone can brute-force)")
		case need == Queue && v.Queue == "":
			v.problem("SQS_URL is not set; set it to the URL of the queue, as in https://sqs.eu-central-1.amazonaws.com/123456789012/logins%s", insteadOf(environ, "SQS_URL"))
		}
	}
	if len(v.problems) > 0 {
		return c, &ConfigError{Problems: v.problems}
	}
	return c, nil
}

// read reads the variables. Empty ones count as unset.
func read(environ map[string]string) *variables {
	v := &variables{environ: environ}
	if environ == nil {
		environ = map[string]string{} // nil is the environment of the process
	}
	if err := env.ParseWithOptions(v, env.Options{Environment: environ}); err != nil {
		panic(err) // the struct is wrong: each variable can be any text
	}
	return v
}

func (v *variables) problem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// set returns the names of the variables that are set.
func (v *variables) set(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return v.environ[name] == "" })
}

func (v *variables) databases() []string {
	return v.set("DATABASE_URL", "PG_URL", "DATABASE_URL_FILE")
}

func (v *variables) maskings() []string {
	return v.set("SLUICE_MASK_KEYS", "SLUICE_MASK_KEYS_FILE", "SLUICE_MASK_SECRET_ARN", "SLUICE_MASK")
}

func (c *Config) database(v *variables) {
	set := v.databases()
	switch {
	case v.DatabaseURLFile != "" && len(set) > 1:
		v.problem("%s are set together, and each says where the rows go; unset all but one", strings.Join(set, " and "))
	case v.DatabaseURLFile != "":
		c.DatabaseURL = v.file("DATABASE_URL_FILE", v.DatabaseURLFile)
	case v.DatabaseURL == "":
		c.DatabaseURL = v.PGURL
	case v.PGURL != "" && v.PGURL != v.DatabaseURL:
		v.problem("DATABASE_URL and PG_URL are both set and differ; PG_URL is another name of DATABASE_URL, so unset one")
	}
	if strings.ContainsFunc(c.DatabaseURL, unicode.IsControl) {
		v.problem("%s has a control character, such as a second line break at its end; remove it", set[0])
	}
	switch {
	case c.DatabaseIAMAuth && c.DatabaseSecretARN != "":
		v.problem("DATABASE_IAM_AUTH and DATABASE_SECRET_ARN are both set; the password is either an IAM token or in the secret, so unset one")
	case c.DatabaseIAMAuth && len(set) == 0:
		v.problem("DATABASE_IAM_AUTH needs DATABASE_URL (or PG_URL) with user, host and database, as in postgres://user@host:5432/database")
	}
}

func (c *Config) masks(v *variables) {
	set := v.maskings()
	switch {
	case len(set) > 1:
		v.problem("%s are set together, and each says how to mask; unset all but one", strings.Join(set, " and "))
	case v.Mask == mask.UnkeyedID:
		c.Keys = mask.Unkeyed()
	case v.Mask != "":
		v.problem("SLUICE_MASK can only be %s, the unkeyed masks of existing tables; masks with a key come from SLUICE_MASK_KEYS", mask.UnkeyedID)
	case v.MaskKeys != "":
		c.Keys = v.keys("SLUICE_MASK_KEYS", v.MaskKeys)
	case v.MaskKeysFile != "":
		if text := v.file("SLUICE_MASK_KEYS_FILE", v.MaskKeysFile); text != "" {
			c.Keys = v.keys("SLUICE_MASK_KEYS_FILE", text)
		}
	}
	if c.Models != nil && !c.Models.Masks() { // only now: what is set must be valid all the same
		c.Keys, c.MaskSecretARN = mask.Unkeyed(), ""
	}
}

func (v *variables) keys(name, text string) *mask.Keyring {
	keys, err := mask.ParseKeys(text)
	if err != nil {
		v.problem("%s: %v", name, err)
	}
	return keys
}

// DatabaseVariable returns the name of the variable that has the database's URL,
// for errors to name.
func DatabaseVariable(environ map[string]string) string {
	return append(read(environ).databases(), "DATABASE_URL")[0]
}

// LogLevel returns the level that the environment asks for, info when it is invalid.
func LogLevel(environ map[string]string) slog.Level {
	return read(environ).logLevel() // Load reports what is wrong
}

func (v *variables) logLevel() (parsed slog.Level) {
	name, level := "LOG_LEVEL", v.LogLevel
	if v.LambdaLevel != "" {
		name, level = "AWS_LAMBDA_LOG_LEVEL", v.LambdaLevel
	}
	// Lambda knows TRACE and FATAL as well.
	level = strings.NewReplacer("trace", "debug", "fatal", "error", "warning", "warn").Replace(strings.ToLower(level))
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		v.problem("%s %q is not a log level; expected debug, info, warn or error", name, level)
	}
	return parsed
}

func (v *variables) flag(name, value string) bool {
	switch strings.ToLower(value) {
	case "true", "1", "on", "yes":
		return true
	case "false", "0", "off", "no":
	default:
		v.problem("%s %q is not valid; expected true or false", name, value)
	}
	return false
}

func (v *variables) queueURL(name, value string) string {
	u, err := url.Parse(value)
	if value != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		v.problem("%s is not a valid queue URL; expected https://sqs.eu-central-1.amazonaws.com/123456789012/logins", name)
	}
	return value
}

// Variables returns the names of the variables.
func Variables() []string {
	params, err := env.GetFieldParams(&variables{})
	if err != nil {
		panic(err) // the struct above is wrong
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.Key
	}
	return names
}
