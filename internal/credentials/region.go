package credentials

import "strings"

// ValidRegion reports whether a text has the form of an AWS region, such as
// eu-west-1, us-gov-east-1 or eusc-de-east-1: words of lower-case letters and then
// a number, with hyphens between them.
//
// Regions come from events, ARNs, host names and the environment, and become
// part of the names of hosts that get signed requests. A text of this form is one
// label of such a name and cannot choose another host.
func ValidRegion(text string) bool {
	words := strings.Split(text, "-")
	if len(text) > maxLength || len(words) < 3 {
		return false
	}
	for i, word := range words {
		letters := "abcdefghijklmnopqrstuvwxyz"
		if i == len(words)-1 {
			letters = "0123456789"
		}
		if word == "" || strings.Trim(word, letters) != "" {
			return false
		}
	}
	return true
}

// maxLength bounds a region well below the 63 characters of a host's label.
const maxLength = 32
