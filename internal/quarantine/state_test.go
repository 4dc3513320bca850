package quarantine

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
)

// Every pair of states: what is not in the list here must be refused.
func TestMembershipMoves(t *testing.T) {
	allowed := map[[2]MembershipState]bool{{In, Released}: true, {In, Deleted}: true, {In, Moved}: true,
		{Released, In}: true, {Deleted, In}: true, {Moved, In}: true}
	for a := range numMembershipStates + 1 {
		for b := range numMembershipStates + 1 {
			next, err := a.To(b)
			if allowed[[2]MembershipState{a, b}] != (err == nil) {
				t.Errorf("%s to %s: %v", a, b, err)
			}
			if want := a; err != nil && next != want || err == nil && next != b {
				t.Errorf("%s to %s gives %s", a, b, next)
			}
		}
	}
}

func TestMoves(t *testing.T) {
	allowed := map[[2]State]bool{
		{Held, Leaving}: true, {Held, Releasing}: true, {Held, Binned}: true, {Held, Removed}: true,
		{Leaving, Held}: true, {Leaving, Failed}: true, {Leaving, Releasing}: true,
		{Releasing, Gone}: true, {Releasing, Failed}: true, {Releasing, Removed}: true, {Releasing, Sent}: true,
		{Sent, Gone}: true, {Sent, Failed}: true,
		{Binned, Held}: true, {Binned, Failed}: true, {Binned, Removed}: true,
		{Shadow, Held}: true, {Shadow, Removed}: true,
		{Failed, Leaving}: true, {Failed, Releasing}: true, {Failed, Binned}: true, {Failed, Removed}: true,
	}
	for a := range numStates + 1 {
		for b := range numStates + 1 {
			next, err := a.To(b)
			if allowed[[2]State{a, b}] != (err == nil) {
				t.Errorf("%s to %s: %v", a, b, err)
			}
			if err != nil && next != a || err == nil && next != b {
				t.Errorf("%s to %s gives %s", a, b, next)
			}
		}
		if s, err := ParseState(a.String()); a < numStates && (err != nil || s != a) {
			t.Errorf("%s is read back as %s, %v", a, s, err)
		}
		if a.Final() && a < numStates && len(moves[a]) > 0 {
			t.Errorf("%s is final but goes on", a)
		}
	}
}

// The numbers stand in databases.
func TestStoredValues(t *testing.T) {
	if Held != 0 || Leaving != 1 || Releasing != 2 || Gone != 3 || Binned != 4 || Removed != 5 || Shadow != 6 || Failed != 7 || Sent != 8 {
		t.Error("states of messages were renumbered")
	}
	if In != 0 || Released != 1 || Deleted != 2 || Moved != 3 || Queued != 0 || Taken != 1 || FailedThere != 2 ||
		Waiting != 3 || Aside != 4 || Accepted != 5 || Bounced != 6 || DeletedThere != 7 || Discarded != 8 || LostSight != 9 {
		t.Error("states were renumbered")
	}
}

// Any order of decisions about any set of quarantines, against the rule in one
// sentence: it leaves when it is out of all, and goes home only if nobody deleted.
func TestDecideAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"Policy", "Virus", "Outbreak", "Mine"}[:rapid.IntRange(1, 4).Draw(t, "quarantines")]
		key := mail.NewKey("A1B2C3D4E5", 7, mail.Hash{1})
		r := &Record{Deposit: Deposit{MID: 9, Key: key, Envelope: mail.Envelope{To: make([]mail.Address, 2)}}, Version: 1}
		for _, n := range names {
			r.Memberships = append(r.Memberships, Membership{Quarantine: n})
		}
		fate := map[string]Action{}
		for range rapid.IntRange(1, 12).Draw(t, "decisions") {
			q := rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "quarantine")
			a := rapid.SampledFrom([]Action{Delete, Release}).Draw(t, "action")
			before := *r
			c, _, err := (&decision{action: a, quarantine: q, may: func(string) bool { return true }, at: time.Unix(1, 0)}).on(r)
			if err != nil {
				t.Fatal(err)
			}
			did := false
			for _, n := range names {
				if _, was := fate[n]; !was && (q == "" || q == n) {
					fate[n], did = a, true
				}
			}
			if did != (c != nil) {
				t.Fatalf("%s from %q: change %v, expected %v", a, q, c != nil, did)
			}
			if before.State != r.State || before.Actions != r.Actions {
				t.Fatal("the record given was changed")
			}
			if c == nil {
				continue
			}
			r = c.After
			r.Version++
			deleted := false
			for _, a := range fate {
				deleted = deleted || a == Delete
			}
			want := Held
			if len(fate) == len(names) {
				if want = Releasing; deleted {
					want = Removed
				}
			}
			if r.State != want || (c.Intent != nil) != (want == Releasing) {
				t.Fatalf("after %v: %s, intent %v, want %s", fate, r.State, c.Intent, want)
			}
			if c.Intent != nil && (c.Intent.Action != mail.NewActionKey(key, 1) || len(c.Intent.RIDs) != 2) {
				t.Fatalf("intent %+v", c.Intent)
			}
		}
	})
}

// A failed release goes again under a new action key, to those only who did not
// get it.
func TestDecideFailed(t *testing.T) {
	r := &Record{Deposit: Deposit{Key: mail.NewKey("A1B2C3D4E5", 7, mail.Hash{1}), Envelope: mail.Envelope{To: make([]mail.Address, 3)}},
		State: Failed, Actions: 1, Memberships: []Membership{{Quarantine: "Policy", State: Released}},
		Release: []Delivery{{RID: 0, State: Taken, Remote: 5}, {RID: 1, State: FailedThere}, {RID: 2, State: FailedThere}}}
	mine := func(q string) bool { return q == "Policy" }
	c, _, err := (&decision{action: Release, may: mine}).on(r)
	if err != nil || c == nil || c.After.State != Releasing || c.Intent.Action != mail.NewActionKey(r.Key, 2) || len(c.Intent.RIDs) != 2 ||
		c.After.Release[0].Remote != 5 || c.After.Release[1].State != Queued {
		t.Errorf("%+v, %v", c, err)
	}
	if c, _, err := (&decision{action: Delete, may: mine}).on(r); err != nil || c.After.State != Removed {
		t.Errorf("%+v, %v", c, err)
	}
	if c, _, _ := (&decision{action: Release, may: mine, due: true}).on(r); c != nil {
		t.Error("expiry decided about a failed release")
	}
	if c, _, _ := (&decision{action: Release, may: func(string) bool { return false }}).on(r); c != nil {
		t.Error("somebody without right decided about a failed release")
	}
}

func TestSettingsCheck(t *testing.T) {
	if err := Check(Defaults()); err != nil {
		t.Error(err)
	}
	bad := map[string]func(*Settings){
		"no name":       func(s *Settings) { s.Name = "" },
		"quote":         func(s *Settings) { s.Name = `a"b` },
		"line end":      func(s *Settings) { s.Name = "a\nb" },
		"blank":         func(s *Settings) { s.Name = " a" },
		"kind":          func(s *Settings) { s.Kind = KindVirus },
		"half an hour":  func(s *Settings) { s.Retention = 30 * time.Minute },
		"90 minutes":    func(s *Settings) { s.Retention = 90 * time.Minute },
		"for ever":      func(s *Settings) { s.Retention = MaxRetention + time.Hour },
		"action":        func(s *Settings) { s.DefaultAction = "delete" },
		"unknown role":  func(s *Settings) { s.Roles = []mail.Role{"King"} },
		"taken name":    func(s *Settings) { s.Name = "Policy" },
		"system's kind": func(s *Settings) { s.Name = "Virus"; s.Kind = KindPolicy },
	}
	for what, spoil := range bad {
		s := Settings{Name: "Mine", Kind: KindPolicy, Retention: time.Hour, DefaultAction: Delete}
		if err := Check(append(Defaults(), s)); err != nil {
			t.Fatal(err)
		}
		spoil(&s)
		if err := Check(append(Defaults(), s)); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if err := Check(Defaults()[1:]); err == nil {
		t.Error("a system quarantine may be missing")
	}
}
