package message

import "slices"

// Kind names something that two readers of a message could understand
// differently, or that kept us from reading it to its end (register C1, C2).
// The names are part of the filter language (rule mime-finding).
type Kind string

// What readers disagree about.
const (
	DuplicateContentType Kind = "duplicate-content-type"
	DuplicateDisposition Kind = "duplicate-content-disposition"
	DuplicateEncoding    Kind = "duplicate-content-transfer-encoding"
	DuplicateParameter   Kind = "duplicate-parameter"
	BoundaryAmbiguous    Kind = "boundary-ambiguous" // two boundary parameters, or one of several readings
	BoundaryPrefix       Kind = "boundary-prefix"    // one delimiter is the beginning of another
	BoundaryMissing      Kind = "boundary-missing"   // multipart without a boundary parameter
	BoundaryNotFound     Kind = "boundary-not-found" // the boundary never occurs
	BoundaryUnclosed     Kind = "boundary-unclosed"  // no closing delimiter
	PartAfterClose       Kind = "part-after-close"
	MalformedParameter   Kind = "malformed-parameter"
	NameAmbiguous        Kind = "name-ambiguous" // a file name has several readings
	NULInHeader          Kind = "nul-in-header"
	BareCRInHeader       Kind = "bare-cr-in-header"
	GarbageInHeader      Kind = "garbage-in-header"
	UnfoldedLine         Kind = "unfolded-continuation"
	ContinuationFirst    Kind = "continuation-before-first-header"
	BlankContinuation    Kind = "blank-continuation"
	SpaceBeforeColon     Kind = "space-before-colon"
	CommentInName        Kind = "comment-in-header-name"
	HeaderCut            Kind = "header-cut-by-boundary"
	MissingBlankLine     Kind = "missing-blank-line"
	MalformedType        Kind = "malformed-content-type"
	UnknownEncoding      Kind = "unknown-encoding"
	UnknownCharset       Kind = "unknown-charset"
	EncodedContainer     Kind = "encoded-container" // base64 or quoted-printable on multipart or message
	TrailingBase64       Kind = "trailing-data-in-base64"
	DirtyBase64          Kind = "garbage-in-base64"
	PartialMessage       Kind = "partial-message"
	ExternalBody         Kind = "external-body"
	UUEncoded            Kind = "uuencoded"
)

// What ended our reading: something in the message was not seen.
const (
	HeaderLimit    Kind = "header-limit"
	ParameterLimit Kind = "parameter-limit"
	DepthLimit     Kind = "depth-limit"
	PartLimit      Kind = "part-limit"
	RereadLimit    Kind = "reread-limit"
)

// Finding is one observation. Part is the path of the part, "" for the message itself.
type Finding struct {
	Kind Kind
	Part string
}

// Findings is what a reading found, each kind once per part, at most maxFindings.
type Findings []Finding

const maxFindings = 200

// Has reports whether one of the kinds was found.
func (fs Findings) Has(kinds ...Kind) bool {
	for _, f := range fs {
		if slices.Contains(kinds, f.Kind) {
			return true
		}
	}
	return false
}

// Unscannable gives the first finding that says that a part of the message was
// not seen: such a message is never "clean" (promise P3).
func (fs Findings) Unscannable() (Kind, bool) {
	for _, f := range fs {
		switch f.Kind {
		case HeaderLimit, ParameterLimit, DepthLimit, PartLimit, RereadLimit:
			return f.Kind, true
		}
	}
	return "", false
}

// Kinds gives every kind of finding, for the list in error texts.
func Kinds() []Kind {
	return []Kind{
		DuplicateContentType, DuplicateDisposition, DuplicateEncoding, DuplicateParameter, BoundaryAmbiguous,
		BoundaryPrefix, BoundaryMissing, BoundaryNotFound, BoundaryUnclosed, PartAfterClose, MalformedParameter,
		NameAmbiguous, NULInHeader, BareCRInHeader, GarbageInHeader, UnfoldedLine, ContinuationFirst,
		BlankContinuation, SpaceBeforeColon, CommentInName, HeaderCut, MissingBlankLine, MalformedType,
		UnknownEncoding, UnknownCharset, EncodedContainer, TrailingBase64, DirtyBase64, PartialMessage,
		ExternalBody, UUEncoded, HeaderLimit, ParameterLimit, DepthLimit, PartLimit, RereadLimit,
	}
}

// add notes a finding once. A limit is noted even when the list is full: it
// takes the last place.
func (fs *Findings) add(k Kind, part string) {
	f := Finding{k, part}
	if slices.Contains(*fs, f) {
		return
	}
	if len(*fs) < maxFindings {
		*fs = append(*fs, f)
		return
	}
	if _, over := (Findings{f}).Unscannable(); over {
		(*fs)[maxFindings-1] = f
	}
}
