"""The address of `new_audit` as a file, which Streamlit's old mode looks for on a cold server.

Without it a first visitor who comes straight here is told that there is no such page.
"""

if __name__ == "__main__":
    from app import main

    main()
