// Package models has the built-in model files.
package models

import "embed"

// FS has one YAML file per kind of message.
//
//go:embed *.yaml
var FS embed.FS
