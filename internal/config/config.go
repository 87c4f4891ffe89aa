// Package config turns environment variables into one checked struct. All
// problems are reported together, each with what to do, and no problem shows
// the value of a variable that can hold a secret.
//
// The table of variables in the README is checked against this package by a
// test. The mains import it.
package config

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"

	"sluice/internal/mask"
	"sluice/internal/model"
	"sluice/models"
)

// variables are the environment variables as they come.
type variables struct {
	DatabaseURL string `env:"DATABASE_URL"`
	PGURL       string `env:"PG_URL"`
	Model       string `env:"SLUICE_MODEL" envDefault:"user_logins"`
	MaskKeys    string `env:"SLUICE_MASK_KEYS"`
	Mask        string `env:"SLUICE_MASK"`
	LogLevel    string `env:"LOG_LEVEL" envDefault:"info"`
	LambdaLevel string `env:"AWS_LAMBDA_LOG_LEVEL"`
}

// Config is what sluice is told.
type Config struct {
	DatabaseURL string
	Model       *model.Model
	// Keys is nil when nothing says how to mask.
	Keys     *mask.Keyring
	LogLevel slog.Level
}

// Need is what a command cannot do without.
type Need int

// What there is to need.
const (
	Database Need = iota
	Masks
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

// Load reads and checks the configuration.
func Load(environ map[string]string, needs ...Need) (*Config, error) {
	var v variables
	var problems ConfigError
	set := map[string]string{}
	for name, value := range environ {
		if value != "" {
			set[name] = value
		}
	}
	if err := env.ParseWithOptions(&v, env.Options{Environment: set}); err != nil {
		problems.add("%v", err)
	}
	c := &Config{DatabaseURL: v.DatabaseURL}
	c.database(v, &problems)
	m, err := model.Load(v.Model, models.FS)
	if err != nil {
		problems.add("SLUICE_MODEL: %s", strings.ReplaceAll(err.Error(), "\n", "\n  SLUICE_MODEL: "))
	}
	c.Model = m
	c.masks(v, &problems)
	c.logLevel(v, &problems)
	for _, need := range needs {
		switch {
		case need == Database && c.DatabaseURL == "" && v.PGURL == "":
			problems.add("DATABASE_URL is not set; it says where the rows go, as in postgres://user:password@host:5432/database")
		case need == Masks && v.MaskKeys == "" && v.Mask == "":
			problems.add("nothing says how to mask personal fields; set SLUICE_MASK_KEYS=k1:<key>, with a key from `openssl rand -hex 32` (SLUICE_MASK=sha256 is for existing tables of unkeyed hashes, which anyone can reverse)")
		}
	}
	if len(problems.Problems) > 0 {
		return nil, &problems
	}
	return c, nil
}

func (c *Config) database(v variables, problems *ConfigError) {
	switch {
	case v.DatabaseURL == "":
		c.DatabaseURL = v.PGURL
	case v.PGURL != "" && v.PGURL != v.DatabaseURL:
		problems.add("DATABASE_URL and PG_URL are both set and differ; PG_URL is another name of DATABASE_URL: unset one")
	}
}

func (c *Config) masks(v variables, problems *ConfigError) {
	switch {
	case v.MaskKeys != "" && v.Mask != "":
		problems.add("SLUICE_MASK_KEYS and SLUICE_MASK are both set: masks are keyed or they are not; unset one")
	case v.Mask == mask.UnkeyedID:
		c.Keys = mask.Unkeyed()
	case v.Mask != "":
		problems.add("SLUICE_MASK can only be %s, the unkeyed masks of existing tables; masks with a key come from SLUICE_MASK_KEYS", mask.UnkeyedID)
	case v.MaskKeys != "":
		keys, err := mask.ParseKeys(v.MaskKeys)
		if err != nil {
			problems.add("SLUICE_MASK_KEYS: %v", err)
		}
		c.Keys = keys
	}
}

func (c *Config) logLevel(v variables, problems *ConfigError) {
	name, level := "LOG_LEVEL", v.LogLevel
	if v.LambdaLevel != "" {
		name, level = "AWS_LAMBDA_LOG_LEVEL", v.LambdaLevel
	}
	// Lambda knows TRACE and FATAL as well.
	level = strings.NewReplacer("trace", "debug", "fatal", "error", "warning", "warn").Replace(strings.ToLower(level))
	if err := c.LogLevel.UnmarshalText([]byte(level)); err != nil {
		problems.add("%s %q is no level; there are debug, info, warn and error", name, level)
	}
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
