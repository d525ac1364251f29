"""``/opt/holoscan/app/__main__.py`` of the image: ``python3 /opt/holoscan/app``, with app, operators and pdl1es beside it."""

from app.__main__ import main

if __name__ == "__main__":
    main()
