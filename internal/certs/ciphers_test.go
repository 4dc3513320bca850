package certs

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/testlib"
)

// The strings of the seed and of register section 6: whether anonymous ciphers
// get in, which no count of suites would show here.
func TestAnonymousCiphers(t *testing.T) {
	for s, anonymous := range map[string]bool{
		"HIGH:MEDIUM":              true,
		"HIGH:MEDIUM:-aNULL":       false,
		"HIGH:MEDIUM:-aNULL:ADH":   true,  // a minus can be taken back
		"HIGH:MEDIUM:!aNULL:ADH":   false, // an exclamation mark cannot
		"HIGH:MEDIUM:-NULL":        true,  // what a translation made of the cure: no cure
		"DEFAULT":                  false,
		"ALL:!COMPLEMENTOFDEFAULT": false,
		"ECDHE+AESGCM":             false,
	} {
		suites, notes, err := Ciphers(s)
		if err != nil || len(suites) == 0 {
			t.Errorf("%s: %v %v", s, suites, err)
		}
		if got := strings.Contains(strings.Join(notes, "|"), "anonymous"); got != anonymous {
			t.Errorf("%s: anonymous %v, notes %q", s, got, notes)
		}
	}
}

// Only sound suites come out, and the rest is told.
func TestCiphersAreSound(t *testing.T) {
	all, notes, err := Ciphers("ALL")
	if err != nil || len(all) < 8 {
		t.Fatalf("%d suites, %v", len(all), err)
	}
	for _, name := range CipherNames(all) {
		if !strings.HasPrefix(name, "ECDHE-") || strings.Contains(name, "RC4") || strings.Contains(name, "DES") {
			t.Errorf("%s is not sound", name)
		}
	}
	if text := strings.Join(notes, "|"); !strings.Contains(text, "RC4-SHA") || !strings.Contains(text, "AES128-SHA") {
		t.Errorf("notes %q", notes)
	}
	if _, notes, err := Ciphers("ECDHE:CAMELLIA"); err != nil || !slices.Contains(notes, "CAMELLIA selects nothing that this program has") {
		t.Errorf("%q %v", notes, err)
	}
}

func TestCipherErrors(t *testing.T) {
	for s, want := range map[string]string{
		"":                           "is empty",
		" : ":                        "is empty",
		"HOCH:MITTEL:-NULL":          `"HOCH" is neither`, // the seed's string in translation
		"HIGH:@WEAK":                 `"@WEAK" is not known`,
		"HIGH:!":                     `"" is neither`,
		"RC4":                        "leaves no sound cipher",
		"aNULL":                      "leaves no sound cipher",
		"HIGH:-ALL":                  "leaves no sound cipher",
		"HIGH:DEFAULT":               "stands first",
		strings.Repeat("HIGH:", 999): "longer than",
		"HIGH:\x1b[2J":               `\x1b`,
	} {
		_, _, err := Ciphers(s)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", s, err, want)
		}
	}
}

// What a string selects is what OpenSSL selects, for all suites that both have.
func TestCiphersLikeOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		testlib.Absent(t, "no openssl here")
	}
	ask := func(s string) map[string]bool {
		out, err := exec.Command(path, "ciphers", "-s", "-tls1_2", s+":@SECLEVEL=0").Output()
		if err != nil {
			t.Fatalf("openssl ciphers %s: %v", s, err)
		}
		set := map[string]bool{}
		for _, name := range strings.Split(strings.TrimSpace(string(out)), ":") {
			set[name] = true
		}
		return set
	}
	known := ask("ALL")
	shared := 0
	for _, s := range []string{"ALL", "DEFAULT", "HIGH", "HIGH:MEDIUM:-aNULL", "HIGH:!ECDHE", "ECDHE", "ECDHE+AESGCM:ECDHE+CHACHA20", "RSA", "kRSA+AES256",
		"aRSA", "ECDSA", "AES128", "AES256+SHA", "SHA256", "SHA384", "SHA1", "TLSv1.2", "ALL:-TLSv1.2", "HIGH:-AES256:AES256-SHA", "HIGH:-AES:AESGCM",
		"ALL:!AESGCM:AESGCM", "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", "HIGH:+AES128:@STRENGTH", "ALL:-kECDHE", "aNULL:AES128-SHA", "HIGH:-ADH", "ECDH:AES128-SHA"} {
		want := ask(s)
		l, err := parseCiphers(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		for i, c := range l.all {
			if !known[c.name] {
				continue // not in this OpenSSL: RC4, 3DES
			}
			shared++
			if l.in[i] != want[c.name] {
				t.Errorf("%s: %s is %v here, %v in OpenSSL", s, c.name, l.in[i], want[c.name])
			}
		}
	}
	if shared < 300 {
		t.Errorf("only %d comparisons: the names differ", shared)
	}
}

func FuzzCiphers(f *testing.F) {
	for _, s := range []string{"HIGH:MEDIUM:-aNULL", "DEFAULT:@STRENGTH", "!", "+", "ECDHE+", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		suites, _, err := Ciphers(s)
		if (err == nil) != (len(suites) > 0) {
			t.Fatalf("%d suites and %v", len(suites), err)
		}
	})
}
