package certs

import (
	"crypto/tls"
	"strings"

	"lazaret/internal/errs"
)

// Limits of a cipher string.
const (
	maxCipherString = 4096
	maxCipherWords  = 200
)

// Ciphers reads a cipher string in OpenSSL's language, such as the seed's
// HIGH:MEDIUM:-aNULL, and gives the suites of TLS 1.2 that it selects here, for
// tls.Config.CipherSuites. Those of TLS 1.3 are always on and are not listed.
//
// Only suites that crypto/tls holds for sound are given, whatever the string
// says; anonymous ones do not exist here. Notes say what a string asks for and
// does not get. An unknown word is an error, and so is a string that leaves
// nothing. The order is not kept: crypto/tls has its own.
func Ciphers(s string) (suites []uint16, notes []string, err error) {
	l, err := parseCiphers(s)
	if err != nil {
		return nil, nil, err
	}
	var weak []string
	anonymous := false
	for i, c := range l.all {
		switch {
		case !l.in[i]:
		case c.anonymous:
			anonymous = true
		case c.weak:
			weak = append(weak, c.name)
		default:
			suites = append(suites, c.id)
		}
	}
	if anonymous {
		notes = append(notes, "it selects anonymous ciphers, which prove nothing and are never used; write :-aNULL at the end")
	}
	if len(weak) > 0 {
		notes = append(notes, "never used because they are weak: "+strings.Join(weak, ", "))
	}
	for _, w := range l.idle {
		notes = append(notes, w+" selects nothing that this program has")
	}
	if len(suites) == 0 {
		return nil, notes, errs.New(errs.Invalid, "cipher string %q leaves no sound cipher", clip(s))
	}
	return suites, notes, nil
}

// CipherNames gives the OpenSSL names of suites, to show what a string means.
func CipherNames(suites []uint16) []string {
	names := make([]string, 0, len(suites))
	for _, id := range suites {
		for _, c := range knownCiphers() {
			if c.id == id && !c.anonymous {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// cipher is one suite with what OpenSSL's words ask about.
type cipher struct {
	id        uint16
	name      string // OpenSSL's
	weak      bool   // in crypto/tls's list of insecure suites
	anonymous bool   // stands for all of them: ADH and AECDH
}

// has reports whether a part of the name, between dashes, is one of words.
func (c cipher) has(words ...string) bool {
	for part := range strings.SplitSeq(c.name, "-") {
		for _, w := range words {
			if part == w {
				return true
			}
		}
	}
	return false
}

func (c cipher) ecdhe() bool { return strings.HasPrefix(c.name, "ECDHE-") }

// medium strength is 3DES and RC4 in OpenSSL; all others here are high.
func (c cipher) medium() bool { return c.has("RC4", "CBC3") }

func (c cipher) aead() bool { return c.has("GCM", "POLY1305") }

// modern suites exist in TLS 1.2 only.
func (c cipher) modern() bool { return c.aead() || c.has("SHA256", "SHA384") }

// knownCiphers are the suites of TLS 1.2 and below that crypto/tls has, and
// the two that stand for the anonymous ones of an OpenSSL: so it is seen
// whether a string lets them in. The list is made on demand: a string is read
// rarely, and the room has no state.
func knownCiphers() []cipher {
	var all []cipher
	add := func(suites []*tls.CipherSuite, weak bool) {
		for _, s := range suites {
			if strings.HasPrefix(s.Name, "TLS_AES_") || strings.HasPrefix(s.Name, "TLS_CHACHA20_") {
				continue // TLS 1.3
			}
			all = append(all, cipher{id: s.ID, name: openSSLName(s.Name), weak: weak})
		}
	}
	add(tls.CipherSuites(), false)
	add(tls.InsecureCipherSuites(), true)
	return append(all, cipher{name: "ADH-AES256-GCM-SHA384", anonymous: true}, cipher{name: "AECDH-AES256-SHA", anonymous: true})
}

// openSSLName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into ECDHE-RSA-AES128-GCM-SHA256.
func openSSLName(name string) string {
	name = strings.NewReplacer("TLS_RSA_WITH_", "", "TLS_", "", "_WITH_", "_", "AES_128", "AES128", "AES_256", "AES256",
		"RC4_128", "RC4", "3DES_EDE_CBC", "DES_CBC3", "POLY1305_SHA256", "POLY1305").Replace(name)
	if strings.Contains(name, "AES") {
		name = strings.Replace(name, "_CBC", "", 1)
	}
	return strings.ReplaceAll(name, "_", "-")
}

// cipherList is the state of OpenSSL's list while it reads a string.
type cipherList struct {
	all    []cipher
	in     []bool
	killed []bool   // by !, for good
	idle   []string // words that OpenSSL knows and that select nothing here
}

// parseCiphers follows OpenSSL: a word adds, a minus takes out until it is
// added again, an exclamation mark takes out for good, a plus only reorders.
func parseCiphers(s string) (*cipherList, error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == ',' || r == ' ' || r == ';' })
	if len(s) > maxCipherString || len(words) > maxCipherWords {
		return nil, errs.New(errs.Invalid, "cipher string is longer than %d characters or %d words", maxCipherString, maxCipherWords)
	}
	if len(words) == 0 {
		return nil, errs.New(errs.Invalid, "cipher string is empty")
	}
	l := &cipherList{all: knownCiphers()}
	l.in, l.killed = make([]bool, len(l.all)), make([]bool, len(l.all))
	for i, w := range words {
		if w == "DEFAULT" && i > 0 {
			return nil, errs.New(errs.Invalid, "cipher string %q: DEFAULT stands first or not at all", clip(s))
		}
		if err := l.word(w); err != nil {
			return nil, errs.Context(err, "cipher string %q", clip(s))
		}
	}
	return l, nil
}

func (l *cipherList) word(w string) error {
	if strings.HasPrefix(w, "@") {
		if w == "@STRENGTH" || len(w) == len("@SECLEVEL=n") && strings.HasPrefix(w, "@SECLEVEL=") && w[10] >= '0' && w[10] <= '5' {
			return nil // order and key sizes are crypto/tls's
		}
		return errs.New(errs.Invalid, "%q is not known", clip(w))
	}
	op := w[0]
	if op == '-' || op == '!' || op == '+' {
		w = w[1:]
	}
	match, err := l.match(w)
	if err != nil {
		return err
	}
	any := false
	for i := range l.all {
		if !match[i] {
			continue
		}
		any = true
		switch op {
		case '+':
		case '-':
			l.in[i] = false
		case '!':
			l.in[i], l.killed[i] = false, true
		default:
			l.in[i] = !l.killed[i]
		}
	}
	if !any && op != '-' && op != '!' && op != '+' {
		l.idle = append(l.idle, w)
	}
	return nil
}

// match finds the suites of one word, or of several joined by plus signs: all
// of them must hold.
func (l *cipherList) match(w string) ([]bool, error) {
	match := make([]bool, len(l.all))
	for i := range match {
		match[i] = true
	}
	for part := range strings.SplitSeq(w, "+") {
		test, err := cipherWord(part)
		if err != nil {
			return nil, err
		}
		for i, c := range l.all {
			match[i] = match[i] && test(c)
		}
	}
	return match, nil
}

// cipherWord gives the meaning of a word in OpenSSL 3, for the suites here.
func cipherWord(w string) (func(cipher) bool, error) {
	signed := func(c cipher) bool { return !c.anonymous }
	switch w {
	case "ALL":
		return func(cipher) bool { return true }, nil
	case "DEFAULT":
		return signed, nil // ALL:!COMPLEMENTOFDEFAULT:!eNULL
	case "COMPLEMENTOFDEFAULT", "aNULL":
		return func(c cipher) bool { return c.anonymous }, nil
	case "HIGH":
		return func(c cipher) bool { return !c.medium() }, nil
	case "MEDIUM":
		return cipher.medium, nil
	case "aRSA":
		return func(c cipher) bool { return signed(c) && !c.has("ECDSA") }, nil
	case "RSA", "kRSA":
		return func(c cipher) bool { return signed(c) && !c.ecdhe() }, nil
	case "aECDSA", "ECDSA":
		return func(c cipher) bool { return c.has("ECDSA") }, nil
	case "ECDHE", "EECDH":
		return cipher.ecdhe, nil
	case "kECDHE", "kEECDH", "ECDH":
		return func(c cipher) bool { return c.ecdhe() || c.has("AECDH") }, nil
	case "ADH", "AECDH":
		return func(c cipher) bool { return c.has(w) }, nil
	case "DH", "kDHE", "kEDH":
		return func(c cipher) bool { return c.has("ADH") }, nil // DHE with a certificate is not here
	case "AES":
		return func(c cipher) bool { return c.has("AES128", "AES256") }, nil
	case "AES128", "AES256", "SHA256", "SHA384":
		return func(c cipher) bool { return c.has(w) && (w[0] == 'A' || !c.aead()) }, nil
	case "AESGCM":
		return func(c cipher) bool { return c.has("GCM") }, nil
	case "CHACHA20":
		return func(c cipher) bool { return c.has("CHACHA20") }, nil
	case "3DES":
		return func(c cipher) bool { return c.has("CBC3") }, nil
	case "RC4":
		return func(c cipher) bool { return c.has("RC4") }, nil
	case "SHA", "SHA1":
		return func(c cipher) bool { return c.has("SHA") }, nil
	case "TLSv1.2":
		return cipher.modern, nil
	case "TLSv1", "TLSv1.0", "SSLv3":
		return func(c cipher) bool { return !c.modern() }, nil
	case "LOW", "EXPORT", "EXP", "COMPLEMENTOFALL", "eNULL", "NULL", "DHE", "EDH", "aDSS", "DSS", "aDH", "kDH", "aECDH",
		"PSK", "kPSK", "aPSK", "kRSAPSK", "kDHEPSK", "kECDHEPSK", "SRP", "kSRP", "aSRP", "CAMELLIA", "CAMELLIA128", "CAMELLIA256",
		"ARIA", "ARIA128", "ARIA256", "ARIAGCM", "AESCCM", "AESCCM8", "SEED", "IDEA", "DES", "RC2", "MD5", "CBC",
		"kGOST", "aGOST", "aGOST01", "aGOST12", "GOST", "GOST94", "GOST89MAC":
		return func(cipher) bool { return false }, nil
	}
	for _, c := range knownCiphers() {
		if c.name == w {
			return func(c cipher) bool { return c.name == w }, nil
		}
	}
	return nil, errs.New(errs.Invalid, "%q is neither a cipher of this program nor a word such as HIGH, ECDHE, AESGCM or aNULL", clip(w))
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
