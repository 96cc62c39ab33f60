"""Take the detector with you: export it as one file."""


def render() -> None:
    """Show the run that the address asks for."""


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
