// Package region says what is a region of AWS. Regions come from events, ARNs,
// host names and the environment, and become a part of the names of hosts that
// are sent signed requests: what is none must not. It is a leaf; whoever calls
// AWS imports it.
package region

import "strings"

// Valid reports whether a text has the form of a region, such as eu-west-1,
// us-gov-east-1 or eusc-de-east-1: words of lower-case letters and then a number,
// with hyphens between them. Such a text is one label of a host's name.
func Valid(text string) bool {
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
