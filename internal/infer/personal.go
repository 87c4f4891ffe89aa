package infer

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// trait is a sign that values are personal, or secret. A draft masks what has one until a person has
// looked at it.
type trait uint32

// The signs, by name and by value.
const (
	namedEmail trait = 1 << iota
	namedPhone
	namedAddress
	namedPerson
	namedCard
	namedAccount
	namedNumber
	namedSecret
	namedBirth
	namedPlace
	namedDevice
	namedIP
	holdsEmail
	holdsPhone
	holdsCard
	holdsIBAN
	holdsIP
	holdsSecret
	holdsRandom
	holdsDevice
	holdsNumber
)

// named are the traits that come from a name.
const named = holdsEmail - 1

// traitNames say why, in the order of the traits.
var traitNames = []string{
	"named like an e-mail address", "named like a phone number", "named like an address", "named like a person's name",
	"named like a card", "named like a bank account", "named like an official number", "named like a secret",
	"named like a date of birth", "named like a place", "named like a device", "named like an IP address",
	"it holds e-mail addresses", "it holds phone numbers", "it holds card numbers", "it holds IBANs",
	"it holds IP addresses", "it holds tokens", "it holds what may be tokens", "it holds addresses of devices", "it holds official numbers",
}

// String lists the signs.
func (t trait) String() string {
	var all []string
	for i, name := range traitNames {
		if t&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}

// nameSigns are the words of names, "_" before and after each. A sign of several words has them in
// this order, next to each other.
var nameSigns = []struct {
	sign  trait
	words string
}{
	{namedEmail, "email emails mail e_mail correo courriel"},
	{namedPhone, "phone phones telephone tel mobile msisdn fax cell cellphone whatsapp phoneno telefon telefono handy"},
	{namedAddress, "address addresses addr street street1 street2 zip zipcode postal postalcode postcode city town plz strasse adresse ort direccion ville"},
	{namedPerson, "firstname lastname surname fullname username nickname first_name last_name full_name given_name family_name middle_name maiden_name sur_name nick_name user_name display_name real_name screen_name person_name holder_name cardholder cardholder_name login vorname nachname prenom nombre apellido contact recipient"},
	{namedCard, "card cards creditcard pan cvv cvc cc_number ccnumber"},
	{namedAccount, "iban acct account_number account_no account_nr account_num accountnumber account_name account_holder bank_account routing_number sort_code konto kontonummer sepa"},
	{namedNumber, "ssn passport tax_id taxid vat_id social_security national_id nin cpf curp personnummer driver_license driver_licence drivers_license driving_licence insurance_number patient_id"},
	{namedSecret, "token tokens secret secrets password passwort passwd pwd passphrase apikey api_key access_key private_key secret_key client_secret credential credentials auth authorization cookie cookies jwt bearer otp pin csrf xsrf"},
	{namedBirth, "birth birthday birthdate dob born geburtsdatum date_of_birth"},
	{namedPlace, "lat latitude lon lng longitude geo gps coordinates coords location_point"},
	{namedDevice, "imei imsi idfa idfv gaid aaid udid mac macaddress device_id deviceid advertising_id advertiser_id android_id"},
	{namedIP, "ip ips ipv4 ipv6 ipaddress ip_address remote_addr forwarded_for client_ip"},
}

// substrings are signs in whatever word they are: customeremail, userpassword.
var substrings = []struct {
	sign trait
	text string
}{
	{namedEmail, "email"}, {namedSecret, "passw"}, {namedSecret, "apikey"}, {namedPhone, "phone"}, {namedPerson, "firstname"}, {namedPerson, "lastname"}, {namedPerson, "fullname"},
}

// things have names that are not a person's: $.bucket.name, product_name.
var things = strings.Fields("account action api app application bucket browser campaign category channel class column command company component country county currency database db device domain driver " +
	"engine environment event exchange feature field file folder function game group host hostname image index instance item job key label language library list locale log metric method model module " +
	"network node object operation option org organization organisation os package page parameter path pipeline plan platform plugin policy process product program project property provider queue " +
	"reason region release repo repository resource role rule runtime schema screen section sensor service session site sku source space stack stage state station status step store stream subject " +
	"table tag task team template tenant test theme thread timezone tool topic type unit variant vendor version video view volume workflow workspace zone branch ref dataset namespace cluster metadata store attribute")

// aspects end names of what is said about a value, not of the value: email_verified, token_expires_at.
var aspects = strings.Fields("at count verified status type enabled expires expiry kind version format length size total changed confirmed valid")

// opaque end names of what looks like a token and is none; sessions are the names of some that are.
var (
	opaque   = strings.Fields("id ids uuid guid etag tag checksum md5 sha sha1 sha256 digest commit sequencer")
	sessions = strings.Fields("session sessions cookie auth authentication login user visitor anonymous device client access refresh api")
)

// isOpaque reports whether a name is of an id or a checksum, which may look like a token.
func isOpaque(own []string) bool {
	return len(own) > 0 && slices.Contains(opaque, own[len(own)-1]) && !slices.ContainsFunc(own, func(w string) bool { return slices.Contains(sessions, w) })
}

// nameTraits returns the signs of a path's names; the last one is the value's own.
func nameTraits(path []string) (signs trait) {
	if len(path) == 0 {
		return 0
	}
	own := words(path[len(path)-1])
	var parent []string
	if len(path) > 1 {
		parent = words(path[len(path)-2])
	}
	if len(own) == 0 {
		return 0
	}
	if len(own) > 1 && slices.Contains(aspects, own[len(own)-1]) {
		return 0
	}
	signs = wordTraits(own)
	for _, name := range path[:len(path)-1] { // what is in an address is a part of it
		signs |= wordTraits(words(name)) & (namedAddress | namedPlace | namedCard | namedSecret)
	}
	last := own[len(own)-1]
	if last == "name" || last == "names" {
		owner := parent
		if len(own) > 1 {
			owner = own[:len(own)-1]
		}
		if len(owner) == 0 || !slices.Contains(things, owner[len(owner)-1]) && !slices.Contains(things, strings.TrimSuffix(owner[len(owner)-1], "s")) {
			signs |= namedPerson
		}
	}
	return signs
}

func wordTraits(own []string) (signs trait) {
	name := "_" + strings.Join(own, "_") + "_"
	for _, s := range nameSigns {
		for w := range strings.FieldsSeq(s.words) {
			if strings.Contains(name, "_"+w+"_") {
				signs |= s.sign
			}
		}
	}
	for _, s := range substrings {
		if strings.Contains(name, s.text) {
			signs |= s.sign
		}
	}
	return signs
}

var (
	phoneText  = regexp.MustCompile(`^(\+|00)[1-9][0-9 ()./-]{6,20}$|^\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}$|^\([0-9]{2,5}\) ?[0-9 /-]{5,}$`)
	numberText = regexp.MustCompile(`^[0-9]{3}-[0-9]{2}-[0-9]{4}$`)
	ibanText   = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$`)
	macText    = regexp.MustCompile(`^(?i)[0-9a-f]{2}([:-])[0-9a-f]{2}(?:[:-][0-9a-f]{2}){4}$`)
	secretText = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.eyJ|^(?i:bearer|basic) |^(sk|pk|rk)_(live|test)_|^gh[pousr]_|^github_pat_|^xox[abprs]-|^(AKIA|ASIA)[A-Z0-9]{12}|^AIza|-----BEGIN|^ya29\.|^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)
	hexText    = regexp.MustCompile(`^(?i)[0-9]*[a-f][0-9a-f]*$`)
	randomText = regexp.MustCompile(`^[A-Za-z0-9_+/=-]{24,}$`)

	// What people write into a text of several words: numbers of phones, as they are called from abroad
	// and in the country, of cards, and IBANs.
	phonePart = regexp.MustCompile(`(?:^|[^0-9A-Za-z.:/_+-])(?:(?:\+|00)[1-9](?:[ ()./-]{0,2}[0-9]){6,14}|\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}|\(?0[1-9][0-9]{1,4}\)?[ /-]{1,3}[1-9](?:[ -]?[0-9]){4,9})(?:$|[^0-9A-Za-z_:-])`)
	cardPart  = regexp.MustCompile(`(?:^|[^0-9A-Za-z._-])([0-9](?:[ -]?[0-9]){12,18})(?:$|[^0-9A-Za-z_-])`)
	ibanPart  = regexp.MustCompile(`(?:^|[^0-9A-Za-z])([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?:$|[^0-9A-Za-z])`)
)

// The lengths of texts.
const (
	maxNumber = 64       // of a text that is one number or address
	maxToken  = 8 << 10  // of a token
	maxText   = 64 << 10 // of a text that is searched for numbers
)

// textTraits returns the signs of a text, in time that its length bounds.
func textTraits(text []byte) (signs trait) {
	text = bytes.TrimSpace(text)
	if len(text) < 2 {
		return 0
	}
	if hasEmail(text) {
		signs |= holdsEmail
	}
	if holdsAddress(text) {
		signs |= holdsIP
	}
	digits := 0
	for _, c := range text {
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	if len(text) <= maxNumber {
		switch {
		case digits >= 12 && isCard(text):
			signs |= holdsCard
		case digits >= 7 && phoneText.Match(text):
			signs |= holdsPhone
		case digits == 9 && numberText.Match(text):
			signs |= holdsNumber
		case digits >= 2 && isIBAN(text):
			signs |= holdsIBAN
		case len(text) == 17 && macText.Match(text):
			signs |= holdsDevice
		}
	}
	if digits >= 7 && bytes.ContainsAny(text, " \t\n") {
		signs |= wordsTraits(text[:min(len(text), maxText)])
	}
	switch start := text[:min(len(text), maxToken)]; {
	case len(text) < 8:
	case secretText.Match(start), bytes.Contains(text, []byte("-----BEGIN")):
		signs |= holdsSecret
	case len(text) > maxToken:
	case len(text) >= 32 && hexText.Match(text), isRandom(text, digits):
		signs |= holdsRandom
	}
	return signs
}

// wordsTraits returns the signs of what people write into a text of several words.
func wordsTraits(text []byte) (signs trait) {
	for _, m := range cardPart.FindAllSubmatch(text, -1) {
		if isCard(m[1]) {
			signs |= holdsCard
		}
	}
	for _, m := range ibanPart.FindAllSubmatch(text, -1) {
		if isIBAN(m[1]) {
			signs |= holdsIBAN
		}
	}
	if signs == 0 && phonePart.Match(text) { // parts of the others look like a phone's number
		signs |= holdsPhone
	}
	return signs
}

// hasEmail reports whether a text has an e-mail address in it.
func hasEmail(text []byte) bool {
	ends := func(c byte) bool { return bytes.IndexByte([]byte(" \t\n\f\r@<>\""), c) >= 0 }
	for at := bytes.IndexByte(text, '@'); at >= 0; {
		rest := text[at+1:]
		if at > 0 && !ends(text[at-1]) {
			for i := 0; i < len(rest) && !ends(rest[i]); i++ {
				if i > 0 && rest[i] == '.' && i+1 < len(rest) && !ends(rest[i+1]) {
					return true
				}
			}
		}
		next := bytes.IndexByte(rest, '@')
		if next < 0 {
			return false
		}
		at += 1 + next
	}
	return false
}

// holdsAddress reports whether a text is or has an IP address, with or without a port or a prefix.
func holdsAddress(text []byte) bool {
	if len(text) <= maxNumber && bytes.Count(text, []byte(":")) >= 2 {
		s := string(text)
		if _, err := netip.ParseAddr(s); err == nil {
			return true
		}
		if _, err := netip.ParseAddrPort(s); err == nil {
			return true
		}
		if _, err := netip.ParsePrefix(s); err == nil {
			return true
		}
	}
	if bytes.Count(text, []byte(".")) < 3 {
		return false
	}
	for len(text) > 0 { // word by word
		end := slices.IndexFunc(text, func(c byte) bool { return !isWordByte(c) })
		if end < 0 {
			end = len(text)
		}
		word, _, _ := bytes.Cut(text[:end], []byte("/"))
		if word = bytes.TrimRight(word, "."); len(word) >= len("1.1.1.1") && len(word) <= len("255.255.255.255") {
			if addr, err := netip.ParseAddr(string(word)); err == nil && addr.Is4() {
				return true
			}
		}
		text = text[min(end+1, len(text)):]
	}
	return false
}

func isWordByte(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '.' || c == '/' || c == '_' || c == '-'
}

// isCard reports whether a text is a card number, with or without spaces or dashes.
func isCard(text []byte) bool {
	var n []byte
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			n = append(n, c-'0')
		case c != ' ' && c != '-':
			return false
		}
	}
	if len(n) < 13 || len(n) > 19 {
		return false
	}
	two := 10*int(n[0]) + int(n[1])
	four := 100*two + 10*int(n[2]) + int(n[3])
	switch {
	case n[0] == 4 && (len(n) == 13 || len(n) == 16 || len(n) == 19):
	case (51 <= two && two <= 55 || 2221 <= four && four <= 2720 || two == 35) && len(n) == 16:
	case (two == 34 || two == 37) && len(n) == 15:
	case (two == 30 || two == 36 || two == 38) && len(n) == 14:
	case n[0] == 6 || two == 50 || two >= 56 && two <= 58:
	default:
		return false
	}
	sum := 0
	for i, d := range n {
		d := int(d)
		if (len(n)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isIBAN reports whether a text is an account number with valid check digits (ISO 13616).
func isIBAN(text []byte) bool {
	text = bytes.ToUpper(bytes.ReplaceAll(text, []byte(" "), nil))
	if !ibanText.Match(text) {
		return false
	}
	rest := 0
	for _, c := range slices.Concat(text[4:], text[:4]) {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}

// isRandom reports whether a long text without spaces has capitals, small letters and digits mixed,
// as tokens have.
func isRandom(text []byte, digits int) bool {
	if digits < 3 || !randomText.Match(text) {
		return false
	}
	upper, lower, changes := 0, 0, 0
	last := -1
	for _, c := range text {
		class := -1
		switch {
		case 'A' <= c && c <= 'Z':
			upper, class = upper+1, 0
		case 'a' <= c && c <= 'z':
			lower, class = lower+1, 1
		case '0' <= c && c <= '9':
			class = 2
		}
		if class >= 0 && class != last {
			changes++
		}
		last = class
	}
	return upper >= 3 && lower >= 3 && changes*3 >= len(text)
}
