package mail

import "slices"

// BodyKind says what a BodyEdit does.
type BodyKind uint8

// The changes of what stands behind the header (reference 7.4).
const (
	DropPart BodyKind = iota // a part goes, and a notice stands in its place
	AddTop                   // text above the text of the message
	AddEnd                   // and below it
	EditText                 // what matches in the text
	ToPlain                  // HTML becomes plain text
)

// BodyEdit is one change of what stands behind the header.
type BodyEdit struct {
	Kind   BodyKind
	Part   string // DropPart: the place of the part, as "2.1"; "" is the message itself
	Loose  bool   // DropPart: it is a file inside of the text there
	Text   string // AddTop, AddEnd; DropPart: the notice, empty for the usual one
	HTML   string // AddTop, AddEnd: the same for text in HTML; empty: as Text looks
	Change func(text string) (string, bool)
	By     string // add-footer filter 'name'
}

// Notice is a message that tells somebody of another.
type Notice struct {
	To       []Address // everybody but the sender of the other message
	ToSender bool      // the sender too, when it is certain who he is
	From     string    // of the field, an address or Name <address>; empty: as the system's other mail
	Subject  string    // one line
	Text     string    // lines
	Copy     bool      // the other message is attached
	By       string    // notify filter 'name'
}

// Route is how a message travels, beside what its recipients say. The zero
// value is as all others.
type Route struct {
	Host      string // all recipients are delivered to this domain or [address]
	Interface string // from this interface
	Profile   string // what happens when it cannot be delivered says this bounce profile
}

// With gives the route with what another one says.
func (r Route) With(o Route) Route {
	if o.Host != "" {
		r.Host = o.Host
	}
	if o.Interface != "" {
		r.Interface = o.Interface
	}
	if o.Profile != "" {
		r.Profile = o.Profile
	}
	return r
}

// Actions are what filters and mail policies want beside a disposition: what
// happens to the content, and what is sent elsewhere.
type Actions struct {
	Body    []BodyEdit
	Notices []Notice
	Archive []Archived
	Tags    []string // for filters behind this one
	Route   Route
	To      Address // in place of all recipients; null: nobody
	ToBy    string  // alt-rcpt-to-filter filter 'name'
}

// Archived asks for a copy of the message as it came in an archive.
type Archived struct {
	Name string // of the archive
	By   string // archive filter 'name'
}

// Add takes up what comes later: what can be done once only is done as the last
// one wants it (reference 7.4).
func (a *Actions) Add(o Actions) {
	for _, e := range o.Body {
		a.Edit(e)
	}
	a.Notices = append(slices.Clip(a.Notices), o.Notices...)
	for _, n := range o.Archive {
		a.Keep(n)
	}
	for _, t := range o.Tags {
		a.Tag(t)
	}
	a.Route = a.Route.With(o.Route)
	if !o.To.IsNull() {
		a.To, a.ToBy = o.To, o.ToBy
	}
}

// Edit adds a change of the content. The message has one heading and one footer,
// and a part goes once.
func (a *Actions) Edit(e BodyEdit) {
	a.Body = slices.DeleteFunc(slices.Clone(a.Body), func(o BodyEdit) bool {
		return o.Kind == e.Kind && e.Kind != EditText && (e.Kind != DropPart || o.Part == e.Part && o.Loose == e.Loose)
	})
	a.Body = append(a.Body, e)
}

// Keep adds an archive, each once.
func (a *Actions) Keep(n Archived) {
	if !slices.ContainsFunc(a.Archive, func(o Archived) bool { return o.Name == n.Name }) {
		a.Archive = append(slices.Clip(a.Archive), n)
	}
}

// Tag adds a tag, each once.
func (a *Actions) Tag(t string) {
	if !slices.Contains(a.Tags, t) {
		a.Tags = append(slices.Clip(a.Tags), t)
	}
}

// AlternateTo reports whether it has other recipients than it came with.
func (a *Actions) AlternateTo() bool { return !a.To.IsNull() }
