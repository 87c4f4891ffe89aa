package credentials

import (
	"regexp"
	"sync"
)

// ValidRegion reports whether a text has the form of an AWS region, such as
// eu-west-1, us-gov-east-1 or eusc-de-east-1: words of lower-case letters and then
// a number, with hyphens between them.
//
// Regions come from events, ARNs, host names and the environment, and become
// part of the names of hosts that get signed requests. A text of this form is one
// label of such a name and cannot choose another host.
func ValidRegion(text string) bool {
	return len(text) <= maxRegion && regionForm().MatchString(text)
}

var regionForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z]+-){2,}[0-9]+$`) })

// maxRegion bounds a region well below the 63 characters of a host's label.
const maxRegion = 32
