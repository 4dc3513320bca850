package filter

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// wall gives what the clock on the wall of the machine shows, as the same
// figures of UTC: so it compares with the date of a script.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// random gives a number from 0 to below-1, always the same for the same seed:
// a message that is judged again has the same fate. (The finalizer of
// SplitMix64, Steele and others 2014.)
func random(seed uint64, below int64) int64 {
	z := seed + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) % uint64(below))
}

// addresses counts the addresses in header fields. Of the readings of a field
// all count that differ from the one before: too many rather than too few.
func (r *run) addresses(ctx context.Context, names []string) (n int64, err error) {
	for _, name := range names {
		values, unseen, err := r.m.Header(ctx, name)
		if err != nil {
			return 0, err
		}
		r.unseen = cmp.Or(r.unseen, unseen)
		before := ""
		for _, v := range values {
			// A value that is decoded stands before itself as it was written,
			// with the same addresses.
			if before != "" && strings.Contains(v, "=?") && countAddresses(v) == countAddresses(before) {
				continue
			}
			before = v
			n += countAddresses(v)
		}
	}
	return n, nil
}

// countAddresses counts the addresses in the value of a field.
func countAddresses(v string) int64 { return int64(len(addressesOf(v))) }

// addressesOf gives what stands between commas and semicolons outside of quotes
// and comments, RFC 5322 section 3.4: what is in angle brackets, or all of it.
// The name of a group is no address. One look at each byte.
func addressesOf(v string) (all []string) {
	var b strings.Builder
	quoted, comment := false, 0
	end := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			all = append(all, s)
		}
		b.Reset()
	}
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && (quoted || comment > 0):
			i++
		case c == '"' && comment == 0:
			quoted = !quoted
		case quoted && b.Len() == 0:
			b.WriteByte('"') // an empty name is still one
		case quoted:
		case c == '(':
			comment++
		case c == ')' && comment > 0:
			comment--
		case comment > 0, c == '>':
		case c == ',' || c == ';':
			end()
		case c == ':' || c == '<':
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	end()
	return all
}

// login compares who logged in with an address of the message.
func (r *run) login(ctx context.Context, args []string) (bool, error) {
	user := r.facts.Origin.User
	switch args[0] {
	case "*None":
		return user == "", nil
	case "*Any":
		return user != "", nil
	}
	if user == "" {
		return false, nil
	}
	sieve := ""
	if len(args) > 1 {
		sieve = args[1]
	}
	if args[0] == "*EnvelopeFrom" {
		return sameUser(user, r.facts.Env.From.String(), sieve), nil
	}
	name := map[string]string{"*FromAddress": "From", "*Sender": "Sender"}[args[0]]
	values, unseen, err := r.m.Header(ctx, name)
	if err != nil || len(values) == 0 {
		return false, err
	}
	r.unseen = cmp.Or(r.unseen, unseen)
	// Every reading must be the user: a second From field is not theirs.
	for _, v := range values {
		list := addressesOf(v)
		if len(list) == 0 || slices.ContainsFunc(list, func(a string) bool { return !sameUser(user, a, sieve) }) {
			return false, nil
		}
	}
	return true, nil
}

// sameUser compares without case. The name of a login without a domain is
// compared with the local part; of that nothing counts behind a sieve character.
func sameUser(user, address, sieve string) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return false
	}
	local, domain := address[:at], address[at:]
	if i := strings.IndexAny(local, sieve); i > 0 {
		local = local[:i]
	}
	if strings.Contains(user, "@") {
		return strings.EqualFold(user, local+domain) || strings.EqualFold(user, address)
	}
	return strings.EqualFold(user, local)
}
