package policy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
)

func addr(s string) mail.Address {
	if s == "" {
		return mail.Address{}
	}
	local, domain, _ := strings.Cut(s, "@")
	return mail.Address{Local: local, Domain: domain}
}

func addrs(list ...string) (out []mail.Address) {
	for _, s := range list {
		out = append(out, addr(s))
	}
	return out
}

func table() *Table {
	return &Table{Name: "inbound", Default: Row{Name: Default}, Rows: []Row{
		{Name: "Board", To: []string{"chair@example.com", "ceo@"}},
		{Name: "Partner", From: []string{"partner.example", ".partner.example"}, To: []string{"sales.example.com"}},
		{Name: "Sales", To: []string{".example.com"}},
		{Name: "Bounces", From: []string{"ALL"}, To: []string{"postmaster@"}},
	}}
}

// The first row that is for sender and recipient counts; DEFAULT takes the rest.
func TestMatch(t *testing.T) {
	tab := table()
	for _, c := range []struct{ from, to, want string }{
		{"a@b.example", "chair@example.com", "Board"},
		{"a@b.example", "CHAIR@Example.COM", "Board"},
		{"a@b.example", "ceo@other.example", "Board"},
		{"a@partner.example", "x@sales.example.com", "Partner"},
		{"a@x.partner.example", "x@sales.example.com", "Partner"},
		{"a@notpartner.example", "x@sales.example.com", "Sales"},
		{"a@partner.example", "x@it.example.com", "Sales"},
		{"a@b.example", "x@example.com", Default}, // .example.com is below it only
		{"a@b.example", "x@notexample.com", Default},
		{"", "postmaster@example.com", "Bounces"},
		{"", "x@example.com", Default},
	} {
		if got := tab.Match(addr(c.from), addr(c.to)).Name; got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

// A message is split by policy, in the order of the table, and each recipient
// is in one part.
func TestSplit(t *testing.T) {
	parts := table().Split(addr("a@partner.example"), addrs("x@example.com", "y@sales.example.com", "chair@example.com", "z@example.com", "w@it.example.com"))
	var got []string
	for _, p := range parts {
		got = append(got, fmt.Sprint(p.Row.Name, p.Recipients))
	}
	if s := strings.Join(got, " "); s != "Board[2] Partner[1] Sales[4] DEFAULT[0 3]" {
		t.Error(s)
	}
	rapid.Check(t, func(t *rapid.T) {
		tab := table()
		name := rapid.SampledFrom([]string{"chair", "ceo", "postmaster", "x"})
		domain := rapid.SampledFrom([]string{"example.com", "sales.example.com", "partner.example", "b.example"})
		var to []mail.Address
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			to = append(to, mail.Address{Local: name.Draw(t, "l"), Domain: domain.Draw(t, "d")})
		}
		from := mail.Address{Local: "s", Domain: domain.Draw(t, "f")}
		seen := make(map[int]*Row)
		for _, p := range tab.Split(from, to) {
			for _, i := range p.Recipients {
				if seen[i] != nil {
					t.Fatalf("recipient %d has two policies", i)
				}
				seen[i] = p.Row
			}
		}
		for i := range to {
			if seen[i] == nil || seen[i] != tab.Match(from, to[i]) {
				t.Fatalf("recipient %d has %v", i, seen[i])
			}
		}
	})
}

// What is refused, and what it says.
func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Table){
		"no name of a policy":  func(t *Table) { t.Rows[0].Name = "a b" },
		"stands there already": func(t *Table) { t.Rows[0].Name = "default" },
		"stands twice":         func(t *Table) { t.Rows[0].Name = "SALES" },
		"nobody in particular": func(t *Table) { t.Rows[0].To = nil },
		"is not user@domain":   func(t *Table) { t.Rows[0].To = []string{"a@b@c"} },
		"needs no action":      func(t *Table) { t.Default.Antivirus.Verdicts = map[mail.Verdict]Response{mail.Clean: {Action: Drop}} },
		"can wait": func(t *Table) {
			t.Default.Antivirus.Verdicts = map[mail.Verdict]Response{mail.Infected: {Action: Wait}}
		},
		"no spam needs no action": func(t *Table) {
			t.Default.Antispam.Verdicts = map[mail.SpamVerdict]Response{mail.SpamNegative: {Action: Drop}}
		},
		"antispam, suspect: only what is unscanned": func(t *Table) {
			t.Default.Antispam.Verdicts = map[mail.SpamVerdict]Response{mail.SpamSuspect: {Action: Wait}}
		},
		"action is deliver": func(t *Table) { t.Default.Antivirus.Verdicts = map[mail.Verdict]Response{mail.Infected: {}} },
		"adds nothing": func(t *Table) {
			t.Default.Antivirus.Verdicts = map[mail.Verdict]Response{mail.Infected: {Action: Drop, Tag: "x"}}
		},
		"begins with X-": func(t *Table) {
			t.Default.Antivirus.Verdicts = map[mail.Verdict]Response{mail.Infected: {Action: Deliver, Header: "Subject: x"}}
		},
	} {
		tab := table()
		change(tab)
		if err := tab.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := table().Check(); err != nil {
		t.Error(err)
	}
	for v := range SpamDefaults() {
		a := Antispam{Verdicts: SpamDefaults()}
		if err := a.Check(); err != nil || a.For(v).Action == "" || new(Antispam).For(v).Action == "" {
			t.Errorf("%s: %v", v, err)
		}
	}
	for v := range Defaults() {
		a := Antivirus{Verdicts: Defaults()}
		if err := a.Check(); err != nil || a.For(v).Action == "" || new(Antivirus).For(v).Action == "" {
			t.Errorf("%s: %v", v, err)
		}
	}
}
