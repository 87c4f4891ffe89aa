// Package config turns environment variables into one checked struct. All
// problems are reported together, each with what to do, and no problem shows
// the value of a variable that can hold a secret.
//
// The table of variables in docs/configuration.md is checked against this
// package by a test. The mains import it.
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

	"sluice/internal/mask"
	"sluice/internal/model"
	"sluice/models"
)

// variables are the environment variables as they come.
type variables struct {
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

// Config is what sluice is told.
type Config struct {
	// DatabaseURL is empty when the secret says everything.
	DatabaseURL       string
	DatabaseSecretARN string
	DatabaseIAMAuth   bool
	Model             *model.Model
	// Keys is nil when the keys are in a secret, or nothing says how to mask a
	// model that masks.
	Keys *mask.Keyring
	// MaskSecretARN is empty for a model that masks nothing: nobody has to fetch keys.
	MaskSecretARN      string
	QueueURL           string
	DeadLetterQueueURL string
	MetricsAddr        string // empty when nothing is served
	Backoff            bool
	LogLevel           slog.Level
}

// Need is what a command cannot do without.
type Need int

// What there is to need.
const (
	Database Need = iota
	Masks
	Queue
)

// ConfigError lists everything that is wrong with the configuration.
//
//nolint:revive // Lambda shows the bare name as the errorType
type ConfigError struct{ Problems []string }

// Error is all problems, a line each.
func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("configuration: %d problems\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

func (e *ConfigError) add(format string, args ...any) {
	e.Problems = append(e.Problems, fmt.Sprintf(format, args...))
}

// Environ is the environment of the process without empty variables: an
// empty variable is an unset one.
func Environ() map[string]string {
	all := map[string]string{}
	for _, pair := range os.Environ() { //nolint:forbidigo // here it is read, for the mains
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			all[name] = value
		}
	}
	return all
}

// Load reads and checks the configuration. Beside an error, the Config holds
// what is right of it, so that the error can be dealt with.
func Load(environ map[string]string, needs ...Need) (*Config, error) {
	var problems ConfigError
	problems.Problems = Unknown(environ)
	v, err := parse(environ)
	if err != nil {
		problems.add("%v", err)
	}
	c := &Config{
		DatabaseURL: v.DatabaseURL, DatabaseSecretARN: v.DatabaseSecret, MaskSecretARN: v.MaskSecret,
		QueueURL: queueURL("SQS_URL", v.Queue, &problems), DeadLetterQueueURL: queueURL("DEAD_LETTER_QUEUE_URL", v.DeadLetters, &problems),
		DatabaseIAMAuth: flag("DATABASE_IAM_AUTH", v.DatabaseIAM, &problems), Backoff: flag("SLUICE_BACKOFF", v.Backoff, &problems),
		MetricsAddr: v.MetricsAddr,
	}
	c.database(v, &problems)
	m, err := model.Load(v.Model, models.FS)
	if err != nil {
		problems.add("SLUICE_MODEL: %s", strings.ReplaceAll(err.Error(), "\n", "\n  SLUICE_MODEL: "))
	}
	c.Model = m
	c.masks(v, &problems)
	c.LogLevel = logLevel(v, &problems)
	for _, need := range needs {
		switch {
		case need == Database && v.DatabaseURL+v.PGURL+v.DatabaseURLFile+v.DatabaseSecret == "":
			problems.add("DATABASE_URL is not set (nor PG_URL, its other name); it says where the rows go, as in postgres://user:password@host:5432/database%s", insteadOf(environ, "DATABASE_URL"))
		case need == Masks && c.Keys == nil && v.MaskKeys+v.MaskKeysFile+v.Mask+v.MaskSecret == "":
			problems.add("nothing says how to mask personal fields; set SLUICE_MASK_KEYS=k1:<key>, with a key from `openssl rand -hex 32` (SLUICE_MASK=sha256 is for existing tables of unkeyed hashes, which anyone can reverse)")
		case need == Queue && v.Queue == "":
			problems.add("SQS_URL is not set; it is the URL of the queue, as in https://sqs.eu-central-1.amazonaws.com/123456789012/logins%s", insteadOf(environ, "SQS_URL"))
		}
	}
	if len(problems.Problems) > 0 {
		return c, &problems
	}
	return c, nil
}

// parse reads the variables; an empty one is an unset one.
func parse(environ map[string]string) (v variables, err error) {
	set := map[string]string{}
	for name, value := range environ {
		if value != "" {
			set[name] = value
		}
	}
	err = env.ParseWithOptions(&v, env.Options{Environment: set})
	return v, err
}

func (c *Config) database(v variables, problems *ConfigError) {
	set := names("DATABASE_URL", v.DatabaseURL, "PG_URL", v.PGURL, "DATABASE_URL_FILE", v.DatabaseURLFile)
	switch {
	case v.DatabaseURLFile != "" && len(set) > 1:
		problems.add("%s are set at once, and each says where the rows go; unset all but one", strings.Join(set, " and "))
	case v.DatabaseURLFile != "":
		c.DatabaseURL = readFile("DATABASE_URL_FILE", v.DatabaseURLFile, problems)
	case v.DatabaseURL == "":
		c.DatabaseURL = v.PGURL
	case v.PGURL != "" && v.PGURL != v.DatabaseURL:
		problems.add("DATABASE_URL and PG_URL are both set and differ; PG_URL is another name of DATABASE_URL: unset one")
	}
	if strings.ContainsFunc(c.DatabaseURL, unicode.IsControl) {
		problems.add("%s holds a control character, such as a second line break at its end: remove it", set[0])
	}
	switch {
	case c.DatabaseIAMAuth && c.DatabaseSecretARN != "":
		problems.add("DATABASE_IAM_AUTH and DATABASE_SECRET_ARN are both set: the password is a token of IAM or in the secret; unset one")
	case c.DatabaseIAMAuth && len(set) == 0:
		problems.add("DATABASE_IAM_AUTH needs DATABASE_URL (or PG_URL) with user, host and database, as in postgres://user@host:5432/database")
	}
}

func (c *Config) masks(v variables, problems *ConfigError) {
	set := names("SLUICE_MASK_KEYS", v.MaskKeys, "SLUICE_MASK_KEYS_FILE", v.MaskKeysFile, "SLUICE_MASK_SECRET_ARN", v.MaskSecret, "SLUICE_MASK", v.Mask)
	switch {
	case len(set) > 1:
		problems.add("%s are set at once, and each says how to mask; unset all but one", strings.Join(set, " and "))
	case v.Mask == mask.UnkeyedID:
		c.Keys = mask.Unkeyed()
	case v.Mask != "":
		problems.add("SLUICE_MASK can only be %s, the unkeyed masks of existing tables; masks with a key come from SLUICE_MASK_KEYS", mask.UnkeyedID)
	case v.MaskKeys != "":
		c.Keys = parseKeys("SLUICE_MASK_KEYS", v.MaskKeys, problems)
	case v.MaskKeysFile != "":
		if text := readFile("SLUICE_MASK_KEYS_FILE", v.MaskKeysFile, problems); text != "" {
			c.Keys = parseKeys("SLUICE_MASK_KEYS_FILE", text, problems)
		}
	}
	if c.Model != nil && !c.Model.Masks() { // what is set must be right all the same
		c.Keys, c.MaskSecretARN = mask.Unkeyed(), ""
	}
}

func parseKeys(name, text string, problems *ConfigError) *mask.Keyring {
	keys, err := mask.ParseKeys(text)
	if err != nil {
		problems.add("%s: %v", name, err)
	}
	return keys
}

// names lists the names that have a value, of pairs of a name and a value.
func names(pairs ...string) (set []string) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			set = append(set, pair[0])
		}
	}
	return set
}

// DatabaseVariable is the name of the variable that the database's URL comes
// from, for errors about it.
func DatabaseVariable(environ map[string]string) string {
	for _, name := range []string{"DATABASE_URL", "PG_URL", "DATABASE_URL_FILE"} {
		if environ[name] != "" {
			return name
		}
	}
	return "DATABASE_URL"
}

// LogLevel is the level that the environment asks for, info when it is wrong.
func LogLevel(environ map[string]string) slog.Level {
	// What is wrong is said by Load.
	v, _ := parse(environ)
	return logLevel(v, &ConfigError{})
}

func logLevel(v variables, problems *ConfigError) (parsed slog.Level) {
	name, level := "LOG_LEVEL", v.LogLevel
	if v.LambdaLevel != "" {
		name, level = "AWS_LAMBDA_LOG_LEVEL", v.LambdaLevel
	}
	// Lambda knows TRACE and FATAL as well.
	level = strings.NewReplacer("trace", "debug", "fatal", "error", "warning", "warn").Replace(strings.ToLower(level))
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		problems.add("%s %q is no level; there are debug, info, warn and error", name, level)
	}
	return parsed
}

func flag(name, value string, problems *ConfigError) bool {
	switch strings.ToLower(value) {
	case "true", "1", "on", "yes":
		return true
	case "false", "0", "off", "no":
	default:
		problems.add("%s %q is neither true nor false", name, value)
	}
	return false
}

func queueURL(name, value string, problems *ConfigError) string {
	u, err := url.Parse(value)
	if value != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		problems.add("%s is not a valid queue URL; expected https://sqs.eu-central-1.amazonaws.com/123456789012/logins", name)
	}
	return value
}

// Variables lists the names of the variables that are read.
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
