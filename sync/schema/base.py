"""The one collection of tables, which the migrations are held against."""

from sqlalchemy import MetaData

metadata = MetaData()
