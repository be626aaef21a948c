"""Random rules that meet each other: few digits, few trunks, so that subjects nest and clauses collide."""

from hypothesis import strategies as st

from sip_filter import Action, Authority, Clause, Kinds, Mode, Stack

TRUNKS = ("intl-a", "intl-b", "national")
SUFFIXES = [f"{value:02}" for value in range(12)]

numbers = st.sampled_from([f"+7701234{suffix}" for suffix in SUFFIXES])
prefixes = st.sampled_from(["+77*", "+770*", "+7701*", "+7701234*", "+770123400*", "+770123401*", "+62*"])
subjects = numbers | prefixes
clauses = st.builds(
    Clause,
    st.sampled_from(Authority),
    st.sampled_from(Action),
    st.sampled_from(Mode),
    st.sampled_from(Kinds),
    st.lists(st.sampled_from(TRUNKS), max_size=2).map(tuple),
    st.none() | st.none() | st.integers(1, 100),
)
stacks = st.lists(clauses, min_size=1, max_size=4).map(Stack.of)
lists = st.dictionaries(subjects, stacks, max_size=8).map(
    lambda entries: [f"{subject}\t{stack}" for subject, stack in entries.items()]
)
changes = st.dictionaries(subjects, stacks | st.just(Stack()), max_size=6).map(
    lambda entries: [f"{subject}\t{stack}" for subject, stack in entries.items()]
)
identities = st.lists(st.tuples(numbers, st.booleans()), max_size=3)
kinds = st.sampled_from(["call", "message"])
trunk_modes = st.sampled_from(["enforce", "enforce", "shadow", "off"])
